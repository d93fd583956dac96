# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whose outputs are brought, and what may become of what is there."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.engine import Logger
from airflow_hybrid.operators.gather.existing import RENAME
from airflow_hybrid.operators.gather.kept import Named


@dataclass(frozen=True)
class OutputRules:
    """By what rules the outputs of one run get their names in ``outdir``.

    :ivar run: a name of the run that its tries share.
    :ivar existing: one of :data:`airflow_hybrid.operators.gather.existing.EXISTING`; see there.
    :ivar inputs: gives the Files and Directories that the run was given; called where something could be replaced.
    """

    log: Logger
    run: str = ""
    existing: str = RENAME
    inputs: Named = tuple
