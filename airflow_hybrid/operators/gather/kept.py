# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The inputs of a run: no output replaces one of them, and nothing is put into one."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_hybrid.model import FileRef
from airflow_hybrid.model.walking import location_of
from airflow_hybrid.operators.gather.copies import Identity
from airflow_hybrid.sites.hosts.job_folders import job_directory_of

Named = Callable[[], Iterable[Mapping[str, Any]]]
"""returns a run's input Files and Directories, each with a ``location`` or a ``path``"""


class ProtectedInputs:
    """The inputs of a run that are on this machine, or have the same path here as at their own location.

    They are read only when something could be replaced, because their folders may be large.

    :param outdir: path of the folder that outputs go to; it exists.
    """

    def __init__(self, named: Named, outdir: str) -> None:
        self._named = named
        self._outdir = os.path.realpath(outdir)
        self._above = set(_folders_above(self._outdir))
        self._identities: set[Identity] = set()
        self._paths: set[str] = set()
        self._is_around = False
        self._is_ready = False

    def holds(self, path: str, status: os.stat_result) -> bool:
        """Whether the file at ``path``, relative to ``outdir``, is an input or inside one.

        An input that contains ``outdir`` does not count: see :attr:`is_around`.
        """
        self._look()
        if (status.st_dev, status.st_ino) in self._identities:
            return True
        while path:
            if posixpath.join(self._outdir, path) in self._paths:
                return True
            path = posixpath.dirname(path)
        return False

    @property
    def is_around(self) -> bool:
        """Whether an input folder contains ``outdir``: then everything that others put there is an input."""
        self._look()
        return self._is_around

    def _look(self) -> None:
        if self._is_ready:
            return
        for item in self._named():
            path = _path_of(item)
            if path is not None:
                self._add(path)
        self._is_ready = True

    def _add(self, path: str) -> None:
        try:
            status = os.stat(path)
        except OSError:
            # it is gone, was never on this machine, or is unreadable: its path counts
            self._paths.add(os.path.realpath(path))
            return
        identity = (status.st_dev, status.st_ino)
        if identity in self._above:
            self._is_around = True
            return
        self._paths.add(os.path.realpath(path))
        if identity in self._identities:
            return
        self._identities.add(identity)
        if stat.S_ISDIR(status.st_mode):
            self._add_members(path)

    def _add_members(self, folder: str) -> None:
        """Targets of links in a folder are inputs, too. A folder that cannot be read counts by its path."""
        for above, names, files in os.walk(folder, followlinks=True):
            for name in files:
                self._add_identity(os.path.join(above, name))
            names[:] = [name for name in names if self._add_identity(os.path.join(above, name))]

    def _add_identity(self, path: str) -> bool:
        """-> whether it is new."""
        try:
            status = os.stat(path)
        except OSError:
            return False  # a dangling link
        identity = (status.st_dev, status.st_ino)
        if identity in self._above:
            self._is_around = True
            return False
        is_new = identity not in self._identities
        self._identities.add(identity)
        return is_new


def _path_of(item: Mapping[str, Any]) -> str | None:
    """The path of a File or Directory that no job of a run made; None if it has none."""
    location = str(location_of(item))
    ref = FileRef.of(location)
    if ref is not None:
        # also of another machine, which may share the folder with this one
        location = ref.path
    if not location.startswith("/") or job_directory_of(location) is not None:
        return None
    return location


def _folders_above(path: str) -> Iterable[Identity]:
    """A folder and all folders above it."""
    while True:
        status = os.stat(path)
        yield status.st_dev, status.st_ino
        if path == "/":
            return
        path = os.path.dirname(path)
