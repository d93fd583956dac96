# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Downloads of the outputs of a run, which the run page lists.

A request names an output by a key from that list, never by a path.
"""

from __future__ import annotations

import posixpath
from typing import Annotated

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import Path, Response
from fastapi.responses import RedirectResponse

from airflow_hybrid.operators.context.run import run_token
from airflow_hybrid.web.access import run_router
from airflow_hybrid.web.folder import RunFolder
from airflow_hybrid.web.recorded import OutputFile, RecordedOutputs, recorded_outputs
from airflow_hybrid.web.sending import file_answer, tar_answer

router = run_router()
Key = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]


@router.get("/outputs")
def show_outputs() -> Response:
    """The run page shows them; links of earlier versions lead here."""
    # relative to this address: wherever Airflow is mounted
    return RedirectResponse("page#outputs")


@router.get("/outputs/archive")
def get_archive(dag_id: str, run_id: str, session: SessionDep) -> Response:
    """All outputs that are files or folders, as a tar stream."""
    outputs = recorded_outputs(session, dag_id, run_id)
    files = list(outputs.files_of(outputs.value))
    return _archive(outputs, run_token(dag_id, run_id), files, "", f"{dag_id}-{run_id}.tar")


@router.get("/outputs/{key}")
def get_output(dag_id: str, run_id: str, key: Key, session: SessionDep) -> Response:
    """A file, or a folder as a tar stream."""
    outputs = recorded_outputs(session, dag_id, run_id)
    file = outputs.find(key)
    above, name = posixpath.split(file.path)
    run = run_token(dag_id, run_id)
    if file.folder:
        start = f"{above}/" if above else ""
        return _archive(outputs, run, outputs.members(file), start, f"{name}.tar")
    with RunFolder(outputs, run) as folder:
        return file_answer(folder.open(file), name)


def _archive(outputs: RecordedOutputs, run: str, files: list[OutputFile], start: str, name: str) -> Response:
    """:raises HTTPException: one of the files cannot be sent; nothing is sent then."""
    files = list({file.path: file for file in files}.values())
    with RunFolder(outputs, run) as folder:
        folder.check(files)
    return tar_answer(lambda: RunFolder(outputs, run), files, start, name)
