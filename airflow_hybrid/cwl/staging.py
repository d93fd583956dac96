# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job finds in its directory: inputs by links, literals, and the initial work directory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, cast

from cwltool.job import JobBase

from airflow_hybrid.cwl.site import JobSite, SitePathMapper, unveil
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FileRef, StageEntry


def stage_entries(job: JobBase, site: JobSite) -> Iterator[StageEntry]:
    """What must be in the job's directory before it starts, in the order in which it is to be made."""
    made: dict[str, tuple[str, str | None]] = {}
    folders = {site.outdir}

    def entry(kind: str, target: str, source: str | None = None, text: str | None = None) -> Iterator[StageEntry]:
        content = source if source is not None else text
        if target in made:
            if made[target] != (kind, content) and not (kind == "mkdir" == made[target][0]):
                raise CwlError(f"two inputs are to be staged as {target}: {made[target][1]} and {content}")
            return
        if not target.startswith(site.jobdir + "/") or posixpath.normpath(target) != target:
            raise CwlError(f"{target} is not a path inside the job's directory: nothing is staged there")
        for folder in reversed(list(_parents(target))):
            if folder not in folders and folder.startswith(site.jobdir + "/"):
                folders.add(folder)
                if folder not in made:
                    yield StageEntry("mkdir", folder)
        made[target] = (kind, content)
        if kind == "mkdir":
            folders.add(target)
        yield StageEntry(kind, target, source, None if text is None else text.encode())

    workdir = SitePathMapper(job.generatefiles["listing"], site, site.outdir, False)
    for mapper in (cast(Any, job.pathmapper), workdir):
        for item in mapper:
            if not item.staged:
                continue
            kind = str(item.type)
            if "Create" in kind:
                yield from entry("file", item.target, text=item.resolved)
            elif item.resolved.startswith("_:"):
                yield from entry("mkdir", item.target)
            elif kind.startswith("Writable") and not (job.inplace_update and _original(item.resolved, site)):
                yield from entry("copy", item.target, site.need_path(item.resolved))
            else:
                yield from entry("link", item.target, site.need_path(item.resolved))


def _original(location: str, site: JobSite) -> bool:
    """Whether a job would update the file itself: never a copy that other jobs of the site share."""
    try:
        return FileRef.parse(unveil(location)).path == site.path_of(location)
    except ValueError:
        return False


def keep_literals(job: JobBase, site: JobSite) -> None:
    """Let a literal that is handed on be one again (cwltool would give its contents as its location), or, where it
    lies in the output directory, the file that it has become.
    """
    for location in [key for key in job.pathmapper.files() if key.startswith("_:")]:
        entry = job.pathmapper.mapper(location)
        kind = f"Writable{entry.type}" if entry.target.startswith(site.outdir + "/") else entry.type
        job.pathmapper.update(location, location, entry.target, kind, entry.staged)


def _parents(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path
