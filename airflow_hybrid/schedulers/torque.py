# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Torque (and Moab or Maui above it): where it differs from OpenPBS (Torque 4.2 to 6.1 administrator's guide)."""

from __future__ import annotations

from airflow_hybrid.schedulers.base import Submission
from airflow_hybrid.schedulers.pbs import PbsScheduler


class TorqueScheduler(PbsScheduler):
    """``-t`` for arrays, ``nodes=1:ppn=4`` for cores; an array may be not rerunnable."""

    arrays_rerun = False

    def array(self, count: int, most: int | None) -> list[str]:
        return ["-t", f"0-{count - 1}{f'%{most}' if most else ''}"]

    def chunks(self, submission: Submission) -> list[str]:
        nodes = f"nodes={max(submission.nodes, submission.processes)}:ppn={submission.cores or 1}"
        nodes += f":gpus={submission.gpus}" if submission.gpus else ""
        wanted = submission.cores or submission.gpus or submission.processes or submission.nodes > 1
        memory = [f"mem={submission.memory_mib}mb"] if submission.memory_mib else []
        words = [*([nodes] if wanted else []), *memory]
        return ["-l", ",".join(words)] if words else []
