# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which run's outputs are gathered, and which files they may replace."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.engine import Logger
from airflow_hybrid.operators.gather.existing import RENAME
from airflow_hybrid.operators.gather.kept import Named


@dataclass(frozen=True)
class OutputRules:
    """The rules by which the outputs of one run get their names in ``outdir``.

    :ivar run: a name of the run, the same for all of its tries.
    :ivar existing: one of :data:`airflow_hybrid.operators.gather.existing.EXISTING`; see there.
    :ivar tidies: whether what an earlier try of this run has put there, and this one does not, is removed.
    :ivar inputs: returns the run's input Files and Directories; called only if something could be replaced.
    """

    log: Logger
    run: str = ""
    existing: str = RENAME
    inputs: Named = tuple
    tidies: bool = True
