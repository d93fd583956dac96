# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The outlines of many DAGs: each version of a DAG is read once in the life of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

from airflow.models.dag import DagModel
from airflow.models.serialized_dag import SerializedDagModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.runs.outline import outline_of_dag

_AT_ONCE = 500
_Version: TypeAlias = tuple[str, datetime, datetime]


class OutlineReader:
    """Reads the outlines of those DAGs that are made of a CWL document."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Version, DagOutline | None]] = {}

    def read(self, session: Session, dag_ids: Iterable[str]) -> dict[str, DagOutline]:
        """The outlines of the latest versions of DAGs; DAGs without one, and those whose file is gone, are left out."""
        outlines = {}
        with self._lock:
            for dag_id, version in _latest(session, sorted(dag_ids)):
                known = self._known.get(dag_id)
                if known is None or known[0] != version:
                    known = self._known[dag_id] = (version, _outline(session, dag_id))
                if known[1] is not None:
                    outlines[dag_id] = known[1]
        return outlines


def _outline(session: Session, dag_id: str) -> DagOutline | None:
    try:
        return outline_of_dag(session, dag_id)
    except HybridError:
        return None  # a DAG of another kind


def _latest(session: Session, dag_ids: list[str]) -> Iterator[tuple[str, _Version]]:
    """DAGs with what tells the latest version from others; its row may be written again."""
    for start in range(0, len(dag_ids), _AT_ONCE):
        some = dag_ids[start : start + _AT_ONCE]
        newest = (
            select(SerializedDagModel.dag_id, func.max(SerializedDagModel.created_at).label("created"))
            .where(SerializedDagModel.dag_id.in_(some))
            .group_by(SerializedDagModel.dag_id)
            .subquery()
        )
        query = (
            select(
                SerializedDagModel.dag_id,
                SerializedDagModel.dag_hash,
                SerializedDagModel.created_at,
                SerializedDagModel.last_updated,
            )
            .join(
                newest,
                (SerializedDagModel.dag_id == newest.c.dag_id) & (SerializedDagModel.created_at == newest.c.created),
            )
            .join(DagModel, DagModel.dag_id == SerializedDagModel.dag_id)
            .where(DagModel.is_stale.is_(False))
        )
        for dag_id, digest, created, updated in session.execute(query):
            yield dag_id, (digest, created, updated)
