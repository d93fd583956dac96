# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The paths of a job's folders, inputs and outputs at its location, for the job and for the location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.cwl.values.several_names import canonical
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import SiteFacts, percent_decoded, percent_encoded
from airflow_hybrid.model.containers import STAGED, TMPDIR

_OURS = "x-file:"


def veil(location: str) -> str:
    """Give a ``file:`` location another scheme: cwltool treats ``file:`` as a path where the job runs."""
    return _OURS + location[len("file:") :] if location.startswith("file:") else location


def unveil(location: str) -> str:
    return "file:" + location[len(_OURS) :] if location.startswith(_OURS) else location


@dataclass(frozen=True)
class Inside:
    """The paths of a tool's folders; each input is in its own folder below ``stagedir``."""

    outdir: str
    tmpdir: str = TMPDIR
    stagedir: str = STAGED


@dataclass(frozen=True)
class JobFiles:
    """The files of one job's inputs.

    :ivar paths: location URI -> absolute path of its replica (at the job's location, now or later).
    :ivar literals: contents of File literals by their ``_:`` location; ``inputs``: the located inputs by location.
    """

    paths: Mapping[str, str]
    literals: Mapping[str, str]
    inputs: Mapping[str, Mapping[str, Any]]


class LocationPaths:
    """The location of one job and what is known there.

    :ivar paths, literals, inputs: as in :class:`JobFiles`.
    :ivar inside: paths of the job's folders in its container; None: it runs without one.
    :ivar sizes: whether to ask for the sizes of inputs.
    :ivar targets: location of an input -> its path for the job, once it is built.
    :ivar classes: location of an input or output -> File or Directory.
    :ivar updated: path of an input that the job may change where it is (InplaceUpdateRequirement) -> File or Directory.
    """

    def __init__(self, jobdir: str, files: JobFiles, facts: SiteFacts, inside: Inside | None = None) -> None:
        self.jobdir = jobdir
        self.outdir = f"{jobdir}/out"
        self.tmpdir = f"{jobdir}/tmp"
        self.inside = inside
        self.tool_paths = inside or Inside(self.outdir, self.tmpdir, f"{jobdir}/in")
        self.paths = files.paths
        self.facts = facts
        self.literals = files.literals
        self.inputs = files.inputs
        self.sizes = True
        self.targets: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        self.updated: dict[str, str] = {}
        self._input_dirs = 0

    def input_dir(self) -> str:
        """The tool's path of a new folder for one input and its secondary files."""
        self._input_dirs += 1
        return f"{self.tool_paths.stagedir}/{self._input_dirs}"

    def outside(self, path: str) -> str:
        """The location's path for a tool's path in the output directory."""
        if is_below(path, self.tool_paths.outdir):
            return self.outdir + path[len(self.tool_paths.outdir) :]
        return path

    def path_of(self, location: str) -> str | None:
        """Path of an input's replica; for a file inside an input directory, derived from the directory's path."""
        location = canonical(unveil(location).rstrip("/"))
        replica = self.paths.get(location)
        if replica is not None:
            return replica
        parent, slash, relative = location.rpartition("/")
        while slash and not parent.endswith("/") and parent:
            folder = self.paths.get(parent) or self.paths.get(parent + "/")
            if folder is not None:
                tail = percent_decoded(relative)
                if ".." in tail.split("/"):
                    return None
                return f"{folder}/{tail}"
            parent, slash, before = parent.rpartition("/")
            relative = f"{before}/{relative}"
        return None

    def real(self, path: str) -> str:
        """The real path of an entry in the output directory: there, or of an input.

        It must not be read before this check: a job's links could lead to any file of the location's user.

        :raises CwlError: it is, or leads, elsewhere.
        """
        if not is_below(path, self.outdir):
            raise CwlError(f"output {path} is outside the job's output directory")
        self._not_elsewhere(self.outdir, path)
        current = self.outdir
        for part in path[len(self.outdir) + 1 :].split("/"):
            current = f"{current}/{part}" if part else current
            if is_below(current, self.outdir):  # links in an input belong to the user
                current = self._not_elsewhere(current, path)
        return current

    def _not_elsewhere(self, current: str, path: str) -> str:
        fact = self.facts.files.get(current)
        if fact is None or fact.realpath in (None, current):
            return current
        real = str(fact.realpath)
        if is_below(real, self.outdir) and current != self.outdir:
            return real
        if self.input_at(real) is not None:
            return real
        for known in self.paths.values():
            input_fact = self.facts.files.get(known)
            if input_fact is not None and input_fact.realpath and is_below(real, input_fact.realpath):
                return known + real[len(input_fact.realpath) :]
        raise CwlError(f"output {path} is a symbolic link to {real}, outside the job's output directory")

    def may_be_updated(self, path: str) -> bool:
        """Whether the job may have changed an input's replica, so that its record is out of date."""
        return any(is_below(path, updated) for updated in self.updated)

    def need_path(self, location: str) -> str:
        path = self.path_of(location)
        if path is None:
            raise CwlError(f"{percent_decoded(location)} is used by the job, but is not one of its inputs")
        return path

    def input_at(self, path: str) -> str | None:
        """The location of the input whose replica is at ``path`` or contains it."""
        for location, known in self.paths.items():
            if path == known:
                return location
            if path.startswith(known + "/"):
                return f"{location.rstrip('/')}/{percent_encoded(path[len(known) + 1 :])}"
        return None


def is_below(path: str, folder: str) -> bool:
    """Whether a normal path is the folder itself or something in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def refuse_replaced(path: str, facts: SiteFacts) -> None:
    """:raises CwlError: the file was replaced before it was read."""
    if path in facts.replaced:
        raise CwlError(f"output {path} was replaced by something else while it was read")
