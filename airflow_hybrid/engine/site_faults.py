# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Faults of the site behind failed jobs: a full disk, missing inputs; and what is in a folder without outputs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.failures import STDERR_LINES, disk_is_full
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.step_run import JobProgress, StepRun
from airflow_hybrid.errors import CwlError, SiteError
from airflow_hybrid.printable import printable, quoted_lines
from airflow_hybrid.sites.files.unchanged import Recorded, differences
from airflow_hybrid.sites.hosts.room import full

MOST_JOBS = 100
"""failed jobs whose inputs are checked"""
MOST_NAMES = 10


async def site_faults(run: StepRun, jobs: Sequence[JobProgress], log: Logger) -> dict[str, str]:
    """Faults of the site behind failed jobs: job key -> the fault in words.

    Two commands for a batch, however many of its jobs failed.

    :param jobs: the failed jobs.
    """
    suspects = [progress for progress in jobs if progress.exit_code != 0]
    if not suspects:
        return {}
    faults = {progress.key: "its disk or quota was full" for progress in suspects if _says_disk_is_full(progress)}
    files = {progress.key: progress.job.files() for progress in suspects[:MOST_JOBS]}
    recorded = {
        str(file["location"]): _recorded(file, run.paths[str(file["location"])])
        for of_one in files.values()
        for file in of_one
        if str(file["location"]) in run.paths
    }
    updated = {path for progress in suspects for path in progress.job.updated}
    recorded = {uri: record for uri, record in recorded.items() if record.path not in updated}
    host = run.place.host
    try:
        room = await full(host, [posixpath.dirname(suspects[0].ran_in), "/tmp"])
        wrong = await differences(host, list(recorded.values())) if recorded else {}
    except SiteError as error:
        log.warning("%s: it is unknown whether the site is at fault: %s", run.place.title, error)
        return faults
    for progress in suspects:
        gone = [uri for file in files.get(progress.key, ()) if run.paths.get(uri := str(file["location"])) in wrong]
        if gone:
            faults[progress.key] = f"its input {gone[0]} {wrong[run.paths[gone[0]]]}"
        elif room:
            faults[progress.key] = room
    return faults


def _says_disk_is_full(progress: JobProgress) -> bool:
    return progress.result is not None and disk_is_full(progress.result.stderr_tail)


def _recorded(file: Mapping[str, object], path: str) -> Recorded:
    size, checksum = file.get("size"), file.get("checksum")
    return Recorded(
        path,
        "d" if file.get("class") == "Directory" else "f",
        size if isinstance(size, int) else None,
        checksum if isinstance(checksum, str) else None,
    )


async def with_what_is_there(error: CwlError, progress: JobProgress, place: Place) -> CwlError:
    """An error about outputs, with the place, the job id, the contents of its folder, and the end of its stderr."""
    names = place.facts.listings.get(progress.outdir, ())
    contents = ", ".join(printable(name) for name in names[:MOST_NAMES]) or "nothing"
    if len(names) > MOST_NAMES:
        contents += f" and {len(names) - MOST_NAMES} more"
    lines = [error.message]
    if progress.result is not None and progress.result.scheduler_id:
        lines.append(f"  job id: {progress.result.scheduler_id}")
    lines += [f"  folder: {progress.outdir}", f"  what is there: {contents}"]
    if progress.result is not None:
        stderr_path = progress.result.stderr_path
        lines.append(f"  stderr: {stderr_path}")
        for tail in await place.queue.tails(posixpath.dirname(progress.ran_in), [stderr_path]):
            lines += quoted_lines(tail, most=STDERR_LINES, indent="  ")
    where = f"{error.where or progress.job.label} at {place.title}"
    return type(error)("\n".join(lines), where=where, hint=error.hint, retryable=error.retryable)
