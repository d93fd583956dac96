# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The pages as files of this package: HTML without anything of a run in it, and the modules and styles that it loads.

What a page shows comes as JSON and is put in as text. So nothing of a document, a job or a log is ever HTML here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response, status

from airflow_hybrid.web.access import run_router

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)

router = APIRouter()
run_pages = run_router()


@dataclass(frozen=True)
class StaticFile:
    content: bytes
    media_type: str
    tag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """The files that may be asked for, by ``folder/name``."""
    found = {}
    for path in sorted(_FOLDER.glob("*/*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found[path.relative_to(_FOLDER).as_posix()] = StaticFile(content, _TYPES[path.suffix], tag)
    return found


def page(name: str) -> Response:
    """An HTML page, e.g. ``run/run.html``."""
    content = (_FOLDER / name).read_bytes()
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@run_pages.get("/page")
def run_page() -> Response:
    """The run page."""
    return page("run/run.html")


@router.get("/static/{folder}/{name}")
def static_file(folder: str, name: str, request: Request) -> Response:
    """A module or a style; every user has the same ones."""
    file = static_files().get(f"{folder}/{name}")
    if file is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "airflow_hybrid has no such file")
    headers = {"ETag": file.tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
