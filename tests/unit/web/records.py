# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Records of jobs, for runs that have many."""

from __future__ import annotations

import time

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JobRecord

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[31m</script>"
MOMENT = round(time.time(), 2)


def record(number: int) -> JobRecord:
    """One of many jobs; every hundredth has failed."""
    is_failed = number % 100 == 7
    began = MOMENT + number % 977 + number / 7
    return JobRecord(
        step="/say",
        index=f"[{number}]",
        deployment="local",
        service="",
        location="local",
        state=JobState.FAILED if is_failed else JobState.COMPLETED,
        reason=HOSTILE if is_failed else "",
        exit_code=int(is_failed),
        scheduler_id=f"71_{number}",
        node=f"n{number % 13}",
        submitted=MOMENT,
        began=began,
        seconds=round(10 + number % 31 / 7, 2),
        cpu_s=None if number % 50 == 3 else 5.25,
        cores=2,
        memory_mib=4096,
        bytes_in=10,
        bytes_out=20,
        directory=f"/work/{number}",
        memory_used_mib=300 + number % 100,
        staging_began=MOMENT - 5,
        collected=MOMENT + 9000,
    )
