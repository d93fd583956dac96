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


@cache
def static_tag() -> str:
    """Is in the addresses of all static files, and another one if any of them differs."""
    names = [f"{name}={file.tag}" for name, file in static_files().items()]
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:20]


@cache
def _html(name: str, above: str) -> str:
    """A page with the addresses of its files. It names all modules that it may need: a browser then asks for all of
    them at once, and not for each one when another has come that imports it.
    """
    folders = (f"{name.partition('/')[0]}/", "common/")
    modules = [file for file in static_files() if file.endswith(".js") and file.startswith(folders)]
    links = "\n".join(f'<link rel="modulepreload" href="{{static}}/{module}">' for module in modules)
    html = (_FOLDER / name).read_text(encoding="utf-8").replace("<!-- modules -->", links)
    return html.replace("{static}", f"{above}static/{static_tag()}")


def page(name: str, above: str = "") -> Response:
    """An HTML page.

    :param name: e.g. ``run/run.html``.
    :param above: the way from its address to the one below which all routes are.
    """
    return Response(_html(name, above), media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@run_pages.get("/page")
def run_page() -> Response:
    """The run page."""
    return page("run/run.html", "../../../../")


@router.get("/static/{tag}/{folder}/{name}")
def static_file(tag: str, folder: str, name: str, request: Request) -> Response:
    """A module or a style; every user has the same ones. A browser that has one does not ask for it again."""
    file = static_files().get(f"{folder}/{name}")
    if file is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "airflow_hybrid has no such file")
    # another tag is that of another version's page, from another API server: no browser may keep this file for it
    is_lasting = tag == static_tag()
    kept = "private, max-age=31536000, immutable" if is_lasting else "private, no-cache"
    headers = {"ETag": file.tag, "Cache-Control": kept}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
