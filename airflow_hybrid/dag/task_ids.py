# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Ids of tasks, task groups and DAGs from names in documents: within Airflow's limits, unique, and stable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import Step

MOST_OF_ID = 250
"""characters of a task id, with those of the groups around it (Airflow's ``ID_LEN``)"""
MOST_OF_LABEL = 200
"""characters of a group's own id (Airflow's ``validate_group_key``)"""
MOST_OF_DAG_ID = 200
"""bytes: output folders have the DAG's id as their name"""
_DIGEST = 8
_PLAN = "plan_"


@dataclass(frozen=True)
class Below:
    """The contents of a group: the length of the longest id below it, and its number of nested labels."""

    characters: int = 0
    levels: int = 0


def below(step: Step) -> Below:
    """What the ids in a sub-workflow's group add to the group's own id."""
    characters = levels = 0
    for inner in step.workflow.steps if step.workflow is not None else ():
        deeper = below(inner)
        label = len(_allowed(inner.name))
        characters = max(characters, 1 + label + max(len(_PLAN), deeper.characters))
        levels = max(levels, 1 + deeper.levels)
    return Below(characters, levels)


class TaskIds:
    """Gives out the ids of one DAG.

    :param taken: ids that are in use already.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._latest: dict[tuple[str, str], str] = {}
        """what the last one of several alike names (as in a script that Airflow does not allow) had to be called"""

    def new(self, prefix: str, name: str, contents: Below | None = None) -> str:
        """The part of a new id that follows ``prefix``: of a task, or of a group with ``contents``.

        In a name that fits, only characters that Airflow does not allow are replaced. A longer name keeps its beginning
        and ends with a digest of the whole name; nested groups share the available length.

        :param prefix: the id of the group around it and a dot; "" at the top.
        :raises CwlError: there are too many nested groups for any id to fit.
        """
        contents = contents or Below()
        room = MOST_OF_ID - len(prefix)
        wanted = _allowed(name)
        limit = MOST_OF_LABEL
        if min(len(wanted), limit) + contents.characters > room:
            limit = min(limit, room // (contents.levels + 1) - (1 if contents.levels else 0))
        if limit < _DIGEST:
            raise CwlError(
                f"step {name!r} is in too many nested sub-workflows: its id would exceed {MOST_OF_ID} characters",
                hint="bind a sub-workflow that contains it with `fuse: true`, so that it becomes one task",
            )
        label = shortened(wanted, limit, prefix + name)
        alike = (prefix, wanted)
        if prefix + label in self._taken:
            name += "_" * (len(self._latest.get(alike, name)) - len(name))
        while prefix + label in self._taken:
            name += "_"
            label = shortened(_allowed(name), limit, prefix + name)
        self._latest[alike] = name
        self._taken.add(prefix + label)
        return label


def dag_id_of(name: str) -> str:
    """The default id of the DAG of a document with this name."""
    wanted = re.sub(r"[^\w.-]", "_", name)
    if len(wanted.encode()) <= MOST_OF_DAG_ID:
        return wanted
    start = wanted.encode()[: MOST_OF_DAG_ID - _DIGEST - 1].decode(errors="ignore")
    return f"{start}_{_digest(name)}"


def shortened(text: str, limit: int, whole: str) -> str:
    """``text`` if it has no more than ``limit`` characters, else its beginning and a digest of ``whole``."""
    if len(text) <= limit:
        return text
    if limit <= _DIGEST + 1:
        return _digest(whole)[:limit]
    return f"{text[: limit - _DIGEST - 1]}_{_digest(whole)}"


def _allowed(name: str) -> str:
    """Airflow allows letters, digits, ``_``, ``-`` and ``.``, which separates groups."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name) or "step"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
