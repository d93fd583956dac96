# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What task ``outputs`` of a run has recorded in Airflow's database."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from fastapi import HTTPException, status
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.model import FileRef, JsonValue
from airflow_hybrid.model.walking import files
from airflow_hybrid.operators.outdirs import is_store
from airflow_hybrid.operators.published.links import OUTDIR_XCOM
from airflow_hybrid.operators.values import OUTPUTS_TASK
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.xcoms import plain

_VALUE_XCOM = "return_value"


class NoOutputsError(HTTPException):
    """A run has no outputs yet, or none that can be read: the page says so in their place."""

    def __init__(self, problem: str) -> None:
        super().__init__(status.HTTP_404_NOT_FOUND, problem)


@dataclass(frozen=True)
class OutputFile:
    """A File or Directory among a run's outputs.

    :ivar path: relative to the run's folder for outputs.
    :ivar size: in bytes; None: a Directory, or unknown.
    """

    path: str
    folder: bool
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    @property
    def key(self) -> str:
        """What a URL names it by: requests have no paths in them."""
        return hashlib.sha256(self.path.encode(errors="surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class RecordedOutputs:
    """The outputs of a run. XComs can be edited, so they are not proof of anything.

    :ivar outdir: absolute path on the machine of the worker, or the URL of an object store.
    :ivar value: the CWL output object.
    """

    outdir: str
    value: Mapping[str, JsonValue]

    @property
    def is_store(self) -> bool:
        return is_store(self.outdir)

    def files_of(self, value: JsonValue) -> Iterator[OutputFile]:
        """The Files and Directories of an output, with those in them and beside them, that are in ``outdir``."""
        return (file for item in files(value) if (file := self._file(item)) is not None)

    def _file(self, item: Mapping[str, Any]) -> OutputFile | None:
        try:
            path = FileRef.parse(str(item.get("location"))).path
        except ValueError:
            return None
        if not path.startswith(self.outdir.rstrip("/") + "/"):
            return None
        size, checksum = item.get("size"), item.get("checksum")
        return OutputFile(
            posixpath.relpath(path, self.outdir),
            item.get("class") == "Directory",
            size if isinstance(size, int) else None,
            checksum if isinstance(checksum, str) else None,
        )

    def find(self, key: str) -> OutputFile:
        """:raises HTTPException: no output has the key (404)."""
        for file in self.files_of(self.value):
            if file.key == key:
                return file
        raise HTTPException(status.HTTP_404_NOT_FOUND, "the run has no such output; open the list of its outputs again")

    def members(self, folder: OutputFile) -> list[OutputFile]:
        """A Directory and everything in it."""
        start = folder.path + "/"
        return [file for file in self.files_of(self.value) if file == folder or file.path.startswith(start)]


def recorded_outputs(session: Session, dag_id: str, run_id: str) -> RecordedOutputs:
    """The outputs of a run.

    :raises HTTPException: there is no such run (404).
    :raises NoOutputsError: it has none yet.
    """
    state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if state is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"DAG {printable(dag_id)} has no run {printable(run_id)}")
    query = select(XComModel.key, XComModel.value).where(
        XComModel.dag_id == dag_id,
        XComModel.run_id == run_id,
        XComModel.task_id == OUTPUTS_TASK,
        XComModel.map_index == -1,
        XComModel.key.in_((_VALUE_XCOM, OUTDIR_XCOM)),
    )
    xcoms = {key: plain(value) for key, value in session.execute(query)}
    value, outdir = xcoms.get(_VALUE_XCOM), xcoms.get(OUTDIR_XCOM)
    if value is None:
        problem = f"the run has no outputs: its task '{OUTPUTS_TASK}' has not succeeded (the run is {state})"
        raise NoOutputsError(problem)
    if not isinstance(value, Mapping) or not isinstance(outdir, str):
        problem = (
            f"what task '{OUTPUTS_TASK}' has recorded cannot be read here: the run was made by an earlier version of"
            " airflow_hybrid, the XComs are kept in another place than Airflow's database, or somebody changed them"
        )
        raise NoOutputsError(problem)
    return RecordedOutputs(outdir, value)
