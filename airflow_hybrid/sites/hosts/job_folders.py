# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which job made a file, as far as its path tells. Pure."""

from __future__ import annotations

import re

LONGEST_PATH = 1 << 16
"""no path that a file has is longer"""


_JOB_OUTPUT = re.compile(r"(/.*?/g\d[^/]*/a\d+-[0-9a-f]+/[^/]+)/out(?:/|\Z)", re.DOTALL)
"""<task>/g<generation>.../a<try>-<digest>/<job>/out: see :mod:`airflow_hybrid.sites.batches.directory`"""


def job_directory_of(path: str) -> str | None:
    """The directory of the job that made the file: what is below it is the job's. None: no job did.

    What a task publishes of a job has no links on its way from here.
    """
    found = _JOB_OUTPUT.match(path)
    return found[1] if found else None


def work_directory_of(path: str) -> str | None:
    """The work directory in which a job made the file. None: no job did.

    Where a step is called by a number alone it cannot be told from a scatter's index: then the folder above.
    """
    job = job_directory_of(path)
    if job is None:
        return None
    parts = job.split("/")[:-3]  # without generation, attempt and job
    folders = 4 if parts[-1].isdecimal() else 3
    return "/".join(parts[:-folders]) or "/"


def producer_of(path: str) -> str | None:
    """Which task made the file, as far as its path in a job directory tells."""
    if len(path) > LONGEST_PATH:
        return None
    found = re.search(r"/([^/]+)/([^/]+)/([^/]+?)(?:/(\d+))?/g\d+-[0-9a-f][^/]*/[^/]+/[^/]+/", path)
    if not found:
        return None
    dag, run, task, index = found.groups()
    mapped = f"[{index}]" if index else ""
    return f"task {task}{mapped} of run {run} of DAG {dag}"
