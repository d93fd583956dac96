# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""XComs of a run as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.overviews.tasks import label_of
from airflow_hybrid.printable import printable, shortened

if TYPE_CHECKING:
    from airflow_hybrid.runs.jobs import RunKey

T = TypeVar("T")
_LONGEST_SCHEME = 40
_LONGEST_ADDRESS = 300


@dataclass(frozen=True)
class PublishedValue:
    """What a task instance has published under a key, as a plain value.

    :ivar map_index: -1: its task is not mapped.
    """

    task_id: str
    map_index: int
    value: Any

    @property
    def label(self) -> str:
        return label_of(self.task_id, self.map_index)


def published_values(session: Session, run: RunKey, key: str) -> Iterator[PublishedValue]:
    """What the tasks of a run have published under a key, in the order of tasks and map indexes."""
    query = (
        select(XComModel.task_id, XComModel.map_index, XComModel.value)
        .where(XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == key)
        .order_by(XComModel.task_id, XComModel.map_index)
    )
    for task_id, map_index, value in session.execute(query):
        yield PublishedValue(task_id, map_index, plain(value))


def read_values(
    session: Session, run: RunKey, key: str, read: Callable[[PublishedValue], T]
) -> tuple[tuple[T, ...], tuple[tuple[str, str], ...]]:
    """The values that can be read, and the tasks whose values cannot, with the reason.

    :param read: raises ValueError for a value that is not what it should be.
    """
    values: list[T] = []
    unread: list[tuple[str, str]] = []
    for published in published_values(session, run, key):
        try:
            _check_is_here(published.value)
            values.append(read(published))
        except ValueError as error:
            unread.append((published.label, str(error)))
    return tuple(values), tuple(unread)


def _check_is_here(value: Any) -> None:
    """Reports and lineages are no texts; a text is the address that an XCom backend keeps in place of a value.

    :raises ValueError: the value is elsewhere. It is not fetched: whoever may edit an XCom would choose what is read.
    """
    if isinstance(value, str) and "://" in value[:_LONGEST_SCHEME]:
        raise ValueError(
            f"the XCom backend keeps it at {printable(shortened(value, _LONGEST_ADDRESS))}, and not in Airflow's"
            " database, where pages and commands read it; a higher [common.io] xcom_objectstorage_threshold keeps it"
            " there for later runs"
        )


def plain(value: Any) -> Any:
    """An XCom as JSON has it; a text may be kept as it is. Airflow's own deserialization could make any object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
