# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The outputs of a run as data for the run page, and what they look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import HTTPException, Response, status

from airflow_hybrid.model import JsonValue
from airflow_hybrid.operators.context.run import run_token
from airflow_hybrid.printable import shortened
from airflow_hybrid.web.access import run_router
from airflow_hybrid.web.folder import RunFolder
from airflow_hybrid.web.outputs import Key
from airflow_hybrid.web.previews.reading import MOST_BYTES, MOST_PICTURE_BYTES, picture_type, preview
from airflow_hybrid.web.recorded import NoOutputsError, OutputFile, RecordedOutputs, recorded_outputs

router = run_router()
_MOST_FILES = 1000
_LONGEST_VALUE = 2000
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
"""of a picture that is opened by itself: an SVG is a document, and could have scripts"""


@router.get("/outputs/list")
def list_outputs(dag_id: str, run_id: str, session: SessionDep) -> Response:
    """The outputs; ``problem`` says why there are none, or why they cannot be opened here."""
    try:
        outputs = recorded_outputs(session, dag_id, run_id)
    except NoOutputsError as error:
        return _json({"outdir": "", "problem": error.detail, "outputs": []})
    problem = ""
    try:
        with RunFolder(outputs, run_token(dag_id, run_id)):
            pass
    except HTTPException as error:
        problem = error.detail
    listed = [_output(name, value, outputs) for name, value in outputs.value.items()]
    return _json({"outdir": outputs.outdir, "problem": problem, "outputs": listed})


@router.get("/outputs/{key}/preview")
def get_preview(dag_id: str, run_id: str, key: Key, session: SessionDep) -> Response:
    """The beginning of a file, as what it looks like."""
    file, start, size = _beginning(session, (dag_id, run_id), key, MOST_BYTES)
    return _json({"name": file.name, **preview(file.name, start, size)})


@router.get("/outputs/{key}/picture")
def get_picture(dag_id: str, run_id: str, key: Key, session: SessionDep) -> Response:
    """A picture, for an ``img`` element: browsers run no scripts of such, and load nothing for them."""
    file, content, size = _beginning(session, (dag_id, run_id), key, MOST_PICTURE_BYTES)
    media_type = picture_type(file.name, content[:MOST_BYTES])
    if media_type is None or size > len(content):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "this output is no picture that can be shown; download it")
    return Response(content, media_type=media_type, headers={"Content-Security-Policy": _PICTURE_POLICY})


def _beginning(session: Any, run: tuple[str, str], key: str, most: int) -> tuple[OutputFile, bytes, int]:
    """-> the output with a key, its first bytes, and how many it has.

    :raises HTTPException: there is none that can be opened (404, 409).
    """
    outputs = recorded_outputs(session, *run)
    file = outputs.find(key)
    if file.folder:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "this output is a folder; download it")
    with RunFolder(outputs, run_token(*run)) as folder, folder.open(file).stream as stream:
        found = stream.seek(0, 2)
        stream.seek(0)
        return file, stream.read(most), found


def _output(name: str, value: JsonValue, outputs: RecordedOutputs) -> dict[str, Any]:
    files = list(outputs.files_of(value))
    shown: dict[str, Any] = {
        "name": name,
        "count": len(files),
        "files": [
            {
                "key": file.key,
                "path": file.path,
                "is_folder": file.folder,
                "size": file.size,
                "checksum": file.checksum,
            }
            for file in files[:_MOST_FILES]
        ],
    }
    if not files:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown["value"] = shortened(text, _LONGEST_VALUE)
    return shown


def _json(value: Mapping[str, Any]) -> Response:
    return Response(json.dumps(value), media_type="application/json")
