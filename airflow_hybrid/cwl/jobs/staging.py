# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job finds in its directory: inputs by links, literals, and the initial work directory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from cwltool.job import JobBase

from airflow_hybrid.cwl.jobs.path_mapper import SitePathMapper
from airflow_hybrid.cwl.jobs.site import JobSite, is_below, unveil
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FileRef, StageEntry
from airflow_hybrid.model.containers import Mount


def stage_entries(job: JobBase, site: JobSite, box: Box | None = None) -> Iterator[StageEntry]:
    """What must be in the job's directory before it starts, in the order in which it is to be made.

    :param box: the job's container; it learns what has to be mounted.
    """
    made: dict[str, tuple[str, str | None]] = {}
    folders = {site.outdir}
    links: set[str] = set()

    def entry(kind: str, target: str, source: str | None = None, text: str | None = None) -> Iterator[StageEntry]:
        content = source if source is not None else text
        if target in made:
            if made[target] != (kind, content) and not (kind == "mkdir" == made[target][0]):
                raise CwlError(f"two inputs are to be staged as {target}: {made[target][1]} and {content}")
            return
        if not target.startswith(site.jobdir + "/") or posixpath.normpath(target) != target:
            raise CwlError(f"{target} is not a path inside the job's directory: nothing is staged there")
        inside = next((folder for folder in _parents(target) if folder in links), None)
        if inside is not None or (kind == "link" and target in folders):
            raise CwlError(
                f"{inside or target} is staged as an input, and something else is to be put into it",
                hint="make that entry of InitialWorkDirRequirement `writable`, and it is a copy for the job to change",
            )
        for folder in reversed(list(_parents(target))):
            if folder not in folders and folder.startswith(site.jobdir + "/"):
                folders.add(folder)
                if folder not in made:
                    yield StageEntry("mkdir", folder)
        made[target] = (kind, content)
        if kind == "mkdir":
            folders.add(target)
        elif kind == "link":
            links.add(target)
        yield StageEntry(kind, target, source, None if text is None else text.encode())

    workdir = SitePathMapper(job.generatefiles["listing"], site, site.outdir, False)
    for entries in (cast(Any, job.pathmapper), workdir.entries):
        for item in entries:
            if not item.staged:
                continue
            kind = str(item.type)
            literal = "Create" in kind or item.resolved.startswith("_:")
            source = None if literal else site.need_path(item.resolved)
            writable = "Writable" in kind
            copied = writable and not literal and not (job.inplace_update and _original(item.resolved, site))
            target: str | None = item.target
            if box is not None:
                target = box.place(item.target, None if copied else source, writable, folder=kind.endswith("Directory"))
                source = source if copied or source is None or target is None else box.show(source, writable)
            if target is None:
                continue
            if "Create" in kind:
                yield from entry("file", target, text=item.resolved)
            elif source is None:
                yield from entry("mkdir", target)
            else:
                yield from entry("copy" if copied else "link", target, source)


def refuse_streams_into_inputs(streams: Mapping[str, str | None], entries: Sequence[StageEntry], site: JobSite) -> None:
    """What a job prints must not be written through a link, into one of its inputs.

    :param streams: ``stdout`` and ``stderr``: path in the output directory.
    :raises CwlError: a stream's path is that of a staged input, or leads through one.
    """
    links = [entry.target for entry in entries if entry.kind == "link"]
    for stream, path in streams.items():
        if path is None:
            continue
        target = posixpath.normpath(posixpath.join(site.outdir, path))
        if any(is_below(target, link) for link in links):
            raise CwlError(
                f"{stream} is {path!r}, where an input is staged: it would be overwritten",
                hint="give the stream another name, or make the entry `writable`, which is then a copy",
            )


def _original(location: str, site: JobSite) -> bool:
    """Whether a job would update the file itself: never a copy that other jobs of the site share."""
    try:
        return FileRef.parse(unveil(location)).path == site.path_of(location)
    except ValueError:
        return False


class Box:
    """What one job's container shows of the location: an area per folder of the job, a mount per file or folder else.

    :ivar mounts: in the order in which they are to be made; ``hosts``: where, outside, what the tool sees is.
    """

    def __init__(self, site: JobSite) -> None:
        self._site = site
        self._areas = {site.seen.outdir: site.outdir, site.seen.tmpdir: site.tmpdir}
        self._shown: dict[tuple[str, bool], str] = {}
        self.mounts = [Mount(site.outdir, site.seen.outdir, True), Mount(site.tmpdir, site.seen.tmpdir, True)]
        self.hosts: dict[str, str] = {}

    def place(self, target: str, source: str | None, writable: bool, folder: bool) -> str | None:
        """Where something that the tool is to see as ``target`` is to be made, or None: ``source`` is mounted there."""
        if posixpath.normpath(target) != target:
            raise CwlError(f"{target} is not the path of a file or folder: nothing is staged there")
        for seen, here in sorted(self._areas.items(), reverse=True):
            if target.startswith(seen + "/"):
                self.hosts[target] = here + target[len(seen) :]
                return self.hosts[target]
        if source is not None:
            self.hosts[target] = source
            self.mounts.append(Mount(source, target, writable))
            return None
        made = f"{self._site.jobdir}/in/{len(self.mounts)}/{posixpath.basename(target)}"
        self.hosts[target] = made
        self.mounts.append(Mount(made, target, writable))
        if folder:
            self._areas[target] = made
        return made

    def show(self, source: str, writable: bool) -> str:
        """What a link to ``source`` has to lead to in the container."""
        shown = self._shown.get((source, writable))
        if shown is None:
            shown = f"{self._site.seen.stagedir}/links/{len(self._shown) + 1}/{posixpath.basename(source)}"
            self._shown[source, writable] = shown
            self.mounts.append(Mount(source, shown, writable))
        return shown


def keep_literals(job: JobBase, site: JobSite) -> None:
    """Let a literal that is handed on be one again (cwltool would give its contents as its location), or, where it
    lies in the output directory, the file that it has become.
    """
    for location in [key for key in job.pathmapper.files() if key.startswith("_:")]:
        entry = job.pathmapper.mapper(location)
        kind = f"Writable{entry.type}" if entry.target.startswith(site.seen.outdir + "/") else entry.type
        job.pathmapper.update(location, location, entry.target, kind, entry.staged)


def _parents(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path
