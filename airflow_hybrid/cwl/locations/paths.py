# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a job's folders, inputs and outputs are at its location, as the job and as the location see them."""

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
    """Give a ``file:`` location another scheme: cwltool takes ``file:`` for a path where the job runs."""
    return _OURS + location[len("file:") :] if location.startswith("file:") else location


def unveil(location: str) -> str:
    return "file:" + location[len(_OURS) :] if location.startswith(_OURS) else location


@dataclass(frozen=True)
class Inside:
    """Where a tool sees its folders; inputs are each in a folder of its own below ``stagedir``."""

    outdir: str
    tmpdir: str = TMPDIR
    stagedir: str = STAGED


@dataclass(frozen=True)
class JobFiles:
    """The files of one job's inputs.

    :ivar paths: location URI -> absolute path of its replica (at the job's location, or where it is going to be).
    :ivar literals: contents of File literals by their ``_:`` location; ``inputs``: the located inputs by location.
    """

    paths: Mapping[str, str]
    literals: Mapping[str, str]
    inputs: Mapping[str, Mapping[str, Any]]


class LocationPaths:
    """Where one job runs and what is known there.

    :ivar paths, literals, inputs: as in :class:`JobFiles`.
    :ivar inside: the job runs in a container, where its folders have these paths; None: they are what they are.
    :ivar sizes: whether the size of an input is worth a question.
    :ivar targets: where the job sees an input, by location, once it is built.
    :ivar classes: File or Directory, by location, of what the job was given or its outputs name.
    """

    def __init__(self, jobdir: str, files: JobFiles, facts: SiteFacts, inside: Inside | None = None) -> None:
        self.jobdir = jobdir
        self.outdir = f"{jobdir}/out"
        self.tmpdir = f"{jobdir}/tmp"
        self.inside = inside
        self.seen = inside or Inside(self.outdir, self.tmpdir, f"{jobdir}/in")
        self.paths = files.paths
        self.facts = facts
        self.literals = files.literals
        self.inputs = files.inputs
        self.sizes = True
        self.targets: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        self._input_dirs = 0

    def input_dir(self) -> str:
        """A new folder, as the tool sees it, for one input and its secondary files."""
        self._input_dirs += 1
        return f"{self.seen.stagedir}/{self._input_dirs}"

    def outside(self, path: str) -> str:
        """Where something in the output directory, as the tool sees it, is at the location."""
        if is_below(path, self.seen.outdir):
            return self.outdir + path[len(self.seen.outdir) :]
        return path

    def path_of(self, location: str) -> str | None:
        """Path of an input's replica; a file inside an input directory is found by its directory."""
        location = canonical(unveil(location).rstrip("/"))
        replica = self.paths.get(location)
        if replica is not None:
            return replica
        parent, slash, rest = location.rpartition("/")
        while slash and not parent.endswith("/") and parent:
            folder = self.paths.get(parent) or self.paths.get(parent + "/")
            if folder is not None:
                tail = percent_decoded(rest)
                if ".." in tail.split("/"):
                    return None
                return f"{folder}/{tail}"
            parent, slash, before = parent.rpartition("/")
            rest = f"{before}/{rest}"
        return None

    def real(self, path: str) -> str:
        """Where something in the output directory really is: there, or at an input, whose path it then has.

        Nothing of it may be read before: links that a job makes could lead to any file of the location's user.

        :raises CwlError: it is, or leads, elsewhere.
        """
        if not is_below(path, self.outdir):
            raise CwlError(f"output {path} is outside the job's output directory")
        self._not_elsewhere(self.outdir, path)
        current = self.outdir
        for part in path[len(self.outdir) + 1 :].split("/"):
            current = f"{current}/{part}" if part else current
            if is_below(current, self.outdir):  # links in an input are the user's
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

    def need_path(self, location: str) -> str:
        path = self.path_of(location)
        if path is None:
            raise CwlError(f"{percent_decoded(location)} is used by the job and is not one of its inputs")
        return path

    def input_at(self, path: str) -> str | None:
        """The location of the input whose replica is at ``path`` or that holds it."""
        for location, known in self.paths.items():
            if path == known:
                return location
            if path.startswith(known + "/"):
                return f"{location.rstrip('/')}/{percent_encoded(path[len(known) + 1 :])}"
        return None


def is_below(path: str, folder: str) -> bool:
    """Whether a normal path is that of the folder, or of something in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def refuse_replaced(path: str, facts: SiteFacts) -> None:
    """:raises CwlError: the file was not what was seen before when it was to be read."""
    if path in facts.replaced:
        raise CwlError(f"output {path} was replaced by something else while it was read")
