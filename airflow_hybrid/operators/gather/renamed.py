# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Warnings about outputs that do not have the names that their jobs gave them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.engine import Logger
from airflow_hybrid.printable import printable

MOST_WARNINGS = 20


@dataclass(frozen=True)
class RenamedOutput:
    """An output with a different name than its job gave it.

    :ivar wanted: path or URL with the original name; ``actual``: with the actual name.
    :ivar is_twin: another output of the run has the original name; otherwise something else has it.
    """

    wanted: str
    actual: str
    is_twin: bool


def warn(renamed: Sequence[RenamedOutput], log: Logger) -> None:
    """One warning each, and one with the number of any others."""
    for other in renamed[:MOST_WARNINGS]:
        name = printable(posixpath.basename(other.actual))
        if other.is_twin:
            log.warning("%s is another output of this run: this output is named %s", printable(other.wanted), name)
        else:
            log.warning("%s exists already and stays: the output is named %s", printable(other.wanted), name)
    if len(renamed) > MOST_WARNINGS:
        log.warning("%d more outputs are renamed", len(renamed) - MOST_WARNINGS)
