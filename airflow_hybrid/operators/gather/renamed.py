# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Warnings about outputs that are not called as their jobs called them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.engine import Logger
from airflow_hybrid.printable import printable

MOST_WARNINGS = 20


@dataclass(frozen=True)
class RenamedOutput:
    """An output that has another name than it wanted.

    :ivar wanted: path or URL of the name that it wanted; ``given``: of the one that it has.
    :ivar is_twin: another output of the run has the name that it wanted; else something else has.
    """

    wanted: str
    actual: str
    is_twin: bool


def warn(renamed: Sequence[RenamedOutput], log: Logger) -> None:
    """One warning for each, and one that counts those that would be too many."""
    for other in renamed[:MOST_WARNINGS]:
        name = printable(posixpath.basename(other.actual))
        if other.is_twin:
            log.warning("%s is another output of this run: this output is %s", printable(other.wanted), name)
        else:
            log.warning("%s is there already and stays: the output is %s", printable(other.wanted), name)
    if len(renamed) > MOST_WARNINGS:
        log.warning("%d more outputs have other names than they wanted", len(renamed) - MOST_WARNINGS)
