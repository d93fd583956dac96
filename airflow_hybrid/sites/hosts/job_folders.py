# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which job made a file, judged by its path. Pure."""

from __future__ import annotations

import re

LONGEST_PATH = 1 << 16
"""longer than the path of any file"""


_JOB_OUTPUT = re.compile(r"(/.*?/g\d[^/]*/a\d+-(?:r\d+-)?[0-9a-f]+/[^/]+)/out(?:/|\Z)", re.DOTALL)
"""<task>/g<generation>.../a<try>-[r<times>-]<digest>/<job>/out: see :mod:`airflow_hybrid.sites.batches.directory`"""


def job_directory_of(path: str) -> str | None:
    """The directory of the job that made the file; everything below it belongs to the job. None: no job did.

    Below it, the paths that a task publishes have no symbolic links in them.
    """
    match = _JOB_OUTPUT.match(path)
    return match[1] if match else None


def work_directory_of(path: str) -> str | None:
    """The work directory in which a job made the file. None: no job did.

    A step whose name is a number cannot be distinguished from a scatter's index: then it is the folder above.
    """
    job = job_directory_of(path)
    if job is None:
        return None
    parts = job.split("/")[:-3]  # without generation, attempt and job
    folders = 4 if parts[-1].isdecimal() else 3
    return "/".join(parts[:-folders]) or "/"


def producer_of(path: str) -> str | None:
    """Which task made the file, judged by its path in a job directory; None: unknown."""
    if len(path) > LONGEST_PATH:
        return None
    match = re.search(r"/([^/]+)/([^/]+)/([^/]+?)(?:/(\d+))?/g\d+-[0-9a-f][^/]*/[^/]+/[^/]+/", path)
    if not match:
        return None
    dag, run, task, index = match.groups()
    mapped = f"[{index}]" if index else ""
    return f"task {task}{mapped} of run {run} of DAG {dag}"
