# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is wrong where jobs failed: no room, inputs that are gone; and what is there where outputs are missing."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.failures import STDERR_LINES, disk_is_full
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.errors import CwlError, SiteError
from airflow_hybrid.model import JobResult
from airflow_hybrid.printable import printable, quoted_lines
from airflow_hybrid.sites.files.unchanged import Recorded, differences
from airflow_hybrid.sites.hosts.room import full

MOST_JOBS = 100
"""failed jobs whose inputs are looked at"""
MOST_NAMES = 10


async def site_faults(
    place: Place,
    jobs: Sequence[PendingJob],
    done: Mapping[str, JobResult],
    directories: Mapping[str, str],
    paths: Mapping[str, str],
    log: Logger,
) -> dict[str, str]:
    """Why jobs failed that may be right: by their keys, in words.

    Two commands for a batch, however many of its jobs failed.

    :param jobs: those that failed.
    :param directories: of each job; ``paths``: where each of their inputs is.
    """
    suspects = [job for job in jobs if done[job.key].exit_code != 0]
    if not suspects:
        return {}
    found = {job.key: "its disk or quota was full" for job in suspects if disk_is_full(done[job.key].stderr_tail)}
    files = {job.key: job.files() for job in suspects[:MOST_JOBS]}
    recorded = {
        str(file["location"]): _recorded(file, paths[str(file["location"])])
        for of_one in files.values()
        for file in of_one
        if str(file["location"]) in paths
    }
    try:
        room = await full(place.host, [posixpath.dirname(directories[suspects[0].key]), "/tmp"])
        wrong = await differences(place.host, list(recorded.values())) if recorded else {}
    except SiteError as error:
        log.warning("%s: whether the site is at fault is not known: %s", place.title, error)
        return found
    for job in suspects:
        gone = [uri for file in files.get(job.key, ()) if paths.get(uri := str(file["location"])) in wrong]
        if gone:
            found[job.key] = f"its input {gone[0]} {wrong[paths[gone[0]]]}"
        elif room:
            found[job.key] = room
    return found


def _recorded(file: Mapping[str, object], path: str) -> Recorded:
    size, checksum = file.get("size"), file.get("checksum")
    return Recorded(
        path,
        "d" if file.get("class") == "Directory" else "f",
        size if isinstance(size, int) else None,
        checksum if isinstance(checksum, str) else None,
    )


async def with_what_is_there(
    error: CwlError, job: PendingJob, place: Place, directory: str, result: JobResult
) -> CwlError:
    """An error about a job's outputs, with the place, the job id, what is in its folder, and its last words."""
    outdir = posixpath.join(directory, "out")
    names = place.facts.listings.get(outdir, ())
    there = ", ".join(printable(name) for name in names[:MOST_NAMES]) or "nothing"
    if len(names) > MOST_NAMES:
        there += f" and {len(names) - MOST_NAMES} more"
    lines = [error.message]
    if result.scheduler_id:
        lines.append(f"  job id: {result.scheduler_id}")
    lines += [f"  folder: {outdir}", f"  what is there: {there}", f"  stderr: {result.stderr_path}"]
    for tail in await place.queue.tails(posixpath.dirname(directory), [result.stderr_path]):
        lines += quoted_lines(tail, most=STDERR_LINES, indent="  ")
    where = f"{error.where or job.label} at {place.title}"
    return type(error)("\n".join(lines), where=where, hint=error.hint, retryable=error.retryable)
