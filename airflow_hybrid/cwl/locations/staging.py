# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The contents of a job's directory: links to inputs, literals, and the initial work directory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from cwltool.job import JobBase
from cwltool.pathmapper import MapperEnt

from airflow_hybrid.cwl.locations.location import JobLocation
from airflow_hybrid.cwl.locations.path_mapper import LocationPathMapper
from airflow_hybrid.cwl.locations.paths import is_below, unveil
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FileRef, StageEntry
from airflow_hybrid.model.containers import Mount


def stage_entries(job: JobBase, site: JobLocation, box: Box | None = None) -> Iterator[StageEntry]:
    """The entries of the job's directory before it starts, in the order in which they are made.

    :param box: the job's container; mounts are added to it.
    """
    stage = _Stage(site)
    workdir = LocationPathMapper(job.generatefiles["listing"], site, site.outdir, False)
    for entries in (cast(Any, job.pathmapper), workdir.entries):
        for item in entries:
            if item.staged:
                yield from stage.with_folders(_entry_of(item, site, box, bool(job.inplace_update)))


def _entry_of(mapped: MapperEnt, site: JobLocation, box: Box | None, updates_in_place: bool) -> StageEntry | None:
    """The entry to make for an entry of cwltool's; None if it is mounted into the container instead."""
    kind = str(mapped.type)
    creates, writable = "Create" in kind, "Writable" in kind
    literal = creates or mapped.resolved.startswith("_:")
    source = None if literal else site.need_path(mapped.resolved)
    updated = updates_in_place and _original(mapped.resolved, site)
    copied = writable and not literal and not updated
    if source is not None and writable and updated:
        site.updated[source] = "Directory" if kind.endswith("Directory") else "File"
    target: str | None = mapped.target
    if box is not None:
        target = box.place(mapped.target, None if copied else source, writable, folder=kind.endswith("Directory"))
        if target is not None and source is not None and not copied:
            source = box.show(source, writable)
    if target is None:
        return None
    if creates:
        return StageEntry("file", target, None, mapped.resolved.encode())
    if source is None:
        return StageEntry("mkdir", target)
    return StageEntry("copy" if copied else "link", target, source)


class _Stage:
    """The entries made in one job's directory: nothing twice, nothing outside of it, nothing through a link.

    :ivar made: the requested entries, by target; ``folders``, ``links``: targets of folders and of links.
    """

    def __init__(self, site: JobLocation) -> None:
        self._jobdir = site.jobdir
        self.made: dict[str, StageEntry] = {}
        self.folders = {site.outdir}
        self.links: set[str] = set()

    def with_folders(self, entry: StageEntry | None) -> Iterator[StageEntry]:
        """The entry, and before it its parent folders; nothing if it is made already.

        :raises CwlError: it cannot be made there.
        """
        if entry is None or self._is_made(entry):
            return
        self._refuse_outside(entry.target)
        self._refuse_through_link(entry)
        for folder in reversed(list(_parents(entry.target))):
            if folder in self.folders or not folder.startswith(self._jobdir + "/"):
                continue
            self.folders.add(folder)
            if folder not in self.made:
                yield StageEntry("mkdir", folder)
        self.made[entry.target] = entry
        if entry.kind == "mkdir":
            self.folders.add(entry.target)
        elif entry.kind == "link":
            self.links.add(entry.target)
        yield entry

    def _is_made(self, entry: StageEntry) -> bool:
        """:raises CwlError: something else is in its place."""
        other = self.made.get(entry.target)
        if other is None:
            return False
        if other != entry:
            raise CwlError(
                f"two inputs would be staged as {entry.target}: {_content_of(other)} and {_content_of(entry)}"
            )
        return True

    def _refuse_outside(self, target: str) -> None:
        if not target.startswith(self._jobdir + "/") or posixpath.normpath(target) != target:
            raise CwlError(f"{target} is not a path inside the job's directory: nothing is staged there")

    def _refuse_through_link(self, entry: StageEntry) -> None:
        inside = next((folder for folder in _parents(entry.target) if folder in self.links), None)
        if inside is not None or (entry.kind == "link" and entry.target in self.folders):
            raise CwlError(
                f"{inside or entry.target} is a staged input, but something else would be put into it",
                hint="make that entry of InitialWorkDirRequirement `writable`: it is then a copy for the job to change",
            )


def _content_of(entry: StageEntry) -> str | None:
    """The source of an entry for messages: a path, or its text."""
    return entry.source if entry.text is None else entry.text.decode()


def refuse_streams_into_inputs(
    streams: Mapping[str, str | None], entries: Sequence[StageEntry], site: JobLocation
) -> None:
    """Check that a job's output streams are not written through a link into one of its inputs.

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
                hint="give the stream another name, or make the entry `writable`, so that it is a copy",
            )


def _original(location: str, site: JobLocation) -> bool:
    """Whether a job would update the original file: never a copy that is shared with other jobs of the site."""
    try:
        return FileRef.parse(unveil(location)).path == site.path_of(location)
    except ValueError:
        return False


class Box:
    """The mounts of one job's container: one per folder of the job, one per other file or folder.

    :ivar mounts: in the order in which they are made; ``hosts``: the tool's paths -> paths outside the container.
    """

    def __init__(self, site: JobLocation) -> None:
        self._site = site
        self._areas = {site.tool_paths.outdir: site.outdir, site.tool_paths.tmpdir: site.tmpdir}
        self._shown: dict[tuple[str, bool], str] = {}
        self.mounts = [Mount(outside, inside, True) for inside, outside in self._areas.items()]
        self.hosts: dict[str, str] = {}

    def place(self, target: str, source: str | None, writable: bool, folder: bool) -> str | None:
        """Where to make something that the tool sees as ``target``; None if ``source`` is mounted there."""
        if posixpath.normpath(target) != target:
            raise CwlError(f"{target} is not the path of a file or folder: nothing is staged there")
        for tool_folder, here in sorted(self._areas.items(), reverse=True):
            if target.startswith(tool_folder + "/"):
                self.hosts[target] = here + target[len(tool_folder) :]
                return self.hosts[target]
        if source is not None:
            self.hosts[target] = source
            self.mounts.append(Mount(source, target, writable))
            return None
        path = f"{self._site.jobdir}/in/{len(self.mounts)}/{posixpath.basename(target)}"
        self.hosts[target] = path
        self.mounts.append(Mount(path, target, writable))
        if folder:
            self._areas[target] = path
        return path

    def show(self, source: str, writable: bool) -> str:
        """The target in the container of a link to ``source``."""
        shown = self._shown.get((source, writable))
        if shown is None:
            shown = f"{self._site.tool_paths.stagedir}/links/{len(self._shown) + 1}/{posixpath.basename(source)}"
            self._shown[source, writable] = shown
            self.mounts.append(Mount(source, shown, writable))
        return shown


def keep_literals(job: JobBase, site: JobLocation) -> None:
    """Make a literal that is passed on a literal again (cwltool would use its contents as its location) or, if it is in
    the output directory, the file that was made from it.
    """
    for location in [key for key in job.pathmapper.files() if key.startswith("_:")]:
        entry = job.pathmapper.mapper(location)
        kind = f"Writable{entry.type}" if entry.target.startswith(site.tool_paths.outdir + "/") else entry.type
        job.pathmapper.update(location, location, entry.target, kind, entry.staged)


def _parents(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path
