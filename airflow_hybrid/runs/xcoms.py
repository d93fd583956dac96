# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""XComs of a run as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.models.xcom import XComModel
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from airflow_hybrid.overviews.tasks import label_of
from airflow_hybrid.printable import printable, shortened

if TYPE_CHECKING:
    from airflow_hybrid.runs.jobs import RunKey

T = TypeVar("T")
_Instance = tuple[str, int]
"""a task's id and a map index"""
_LONGEST_SCHEME = 40
_LONGEST_ADDRESS = 300
_MOST_NAMED = 200
"""values that are asked for by name; if more have changed, all are read"""


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
    for _, published in _published(session, run, key):
        yield published


def _published(
    session: Session, run: RunKey, key: str, only: list[_Instance] | None = None
) -> Iterator[tuple[datetime, PublishedValue]]:
    """Values with the times of publishing.

    :param only: those of these task instances; None: of all.
    """
    query = (
        select(XComModel.task_id, XComModel.map_index, XComModel.timestamp, XComModel.value)
        .where(XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == key)
        .order_by(XComModel.task_id, XComModel.map_index)
    )
    if only is not None:
        query = query.where(tuple_(XComModel.task_id, XComModel.map_index).in_(only))
    for task_id, map_index, published, value in session.execute(query):
        yield published, PublishedValue(task_id, map_index, plain(value))


@dataclass(frozen=True)
class _Outcome:
    """What became of a value when it was read: it, or the reason why it cannot be read.

    :ivar published: when; Airflow makes a new row, with another time, whenever a value is set.
    """

    published: datetime
    label: str
    value: Any = None
    problem: str | None = None


class KeptValues:
    """What was read of a run, for the next time that it is read: only what was published since then is read and checked
    anew. It holds the values of the last time, and no others.
    """

    def __init__(self) -> None:
        self._of_key: dict[str, dict[_Instance, _Outcome]] = {}

    def read(self, session: Session, run: RunKey, key: str, read: Callable[[PublishedValue], T]) -> list[_Outcome]:
        """The outcomes under a key, in the order of tasks and map indexes."""
        known = self._of_key.get(key, {})
        current = _times(session, run, key) if known else {}
        changed = sorted(which for which, time in current.items() if _is_new(known.get(which), time))
        only = changed if known and len(changed) <= _MOST_NAMED else None
        outcomes = {instance: known[instance] for instance in current if instance in known}
        if changed or not known:
            for time, published in _published(session, run, key, only):
                outcomes[published.task_id, published.map_index] = _outcome(time, published, read)
        self._of_key[key] = dict(sorted(outcomes.items()))
        return list(self._of_key[key].values())


def _times(session: Session, run: RunKey, key: str) -> dict[_Instance, datetime]:
    """When the values under a key were published, without the values."""
    query = select(XComModel.task_id, XComModel.map_index, XComModel.timestamp).where(
        XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == key
    )
    return {(task_id, map_index): time for task_id, map_index, time in session.execute(query)}


def _is_new(known: _Outcome | None, time: datetime) -> bool:
    return known is None or known.published != time


def _outcome(time: datetime, published: PublishedValue, read: Callable[[PublishedValue], T]) -> _Outcome:
    try:
        _check_is_here(published.value)
        return _Outcome(time, published.label, read(published))
    except ValueError as error:
        return _Outcome(time, published.label, problem=str(error))


def read_values(
    session: Session, run: RunKey, key: str, read: Callable[[PublishedValue], T], kept: KeptValues | None = None
) -> tuple[tuple[T, ...], tuple[tuple[str, str], ...]]:
    """The values that can be read, and the tasks whose values cannot, with the reason.

    :param read: raises ValueError for a value that is not what it should be.
    :param kept: what was read of the run before.
    """
    outcomes = (kept or KeptValues()).read(session, run, key, read)
    values = [outcome.value for outcome in outcomes if outcome.problem is None]
    unread = [(outcome.label, outcome.problem) for outcome in outcomes if outcome.problem is not None]
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
    except (ValueError, RecursionError):
        return value
