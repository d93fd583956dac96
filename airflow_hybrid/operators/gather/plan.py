# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The plan of what goes where in ``outdir``, made before anything is moved; and the final output object."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import LostDataError, TransferError, all_lost
from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, CwlObject, FileRef, JsonValue, LineageEntry
from airflow_hybrid.model.walking import outermost_files
from airflow_hybrid.operators.gather.copies import copy_file, copy_folder
from airflow_hybrid.operators.gather.listing import CwlFile, entry_of, listing_of, measure
from airflow_hybrid.operators.gather.outdir import Merged, Outdir, numbered
from airflow_hybrid.operators.gather.renamed import RenamedOutput, warn
from airflow_hybrid.sites.files.mover import StageRequest
from airflow_hybrid.sites.files.nofollow import opened
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.job_folders import job_directory_of


@dataclass(frozen=True)
class _Wish:
    """One name that an output wants.

    :ivar path: relative to ``outdir``.
    :ivar source: the output's location, or a unique number for a literal.
    """

    path: str
    source: str | int
    folder: bool


class Plan:
    """Gives every output its path in ``outdir``.

    :ivar value: the output object; its locations are final after :meth:`describe`.
    :raises TransferError: an output has a name that no file can have.
    """

    def __init__(self, outputs: CwlObject, outdir: Outdir, deployments: Mapping[str, Deployment]) -> None:
        self.value: CwlObject = json.loads(json.dumps(outputs))  # a copy in which no object is used twice
        self._outdir = outdir
        self._deployments = deployments
        self._names = _OutputNames(outdir)
        self._paths: dict[int, str] = {}
        """``id`` of a file object -> its path in the assembled tree"""
        self._in_outdir: dict[int, str] = {}
        """``id`` of a file object that is in ``outdir`` already -> its absolute path"""
        self._near: list[tuple[FileRef, str, CwlFile]] = []
        self._far: list[tuple[str, CwlFile]] = []
        self._ordered: set[str] = set()
        self._literals: list[tuple[str, CwlFile]] = []
        self._renamed: list[RenamedOutput] = []
        """``actual`` is a path in the tree"""
        for file in outermost_files(self.value):
            self._place(cast(CwlFile, file), "")

    @property
    def is_empty(self) -> bool:
        """Whether everything is there already, or there is nothing."""
        return not self._near and not self._far and not self._literals

    def _place(self, file: CwlFile, into: str) -> None:
        """Give ``file`` a path in the folder ``into``; secondary files stay beside their primary file."""
        group = list(_with_secondaries(file))
        wishes = []
        for member in group:
            name = str(member.get("basename") or posixpath.basename(str(member.get("location"))))
            if "/" in name or name in ("", ".", ".."):
                raise TransferError(f"an output has the unusable name {name!r}")
            member["basename"] = name
            for key in ("path", "dirname"):
                member.pop(key, None)
            if self._is_there(member, posixpath.join(into, name)):
                continue
            source = id(member) if _is_literal(member) else str(member["location"])
            wishes.append((member, _Wish(posixpath.join(into, name), source, member["class"] == "Directory")))
        taken = self._names.take([wish for _, wish in wishes])
        self._note_other_name([wish for _, wish in wishes], taken)
        for (member, _), (path, is_new) in zip(wishes, taken, strict=True):
            self._paths[id(member)] = path
            if is_new and path not in self._ordered:
                self._ordered.add(path)
                self._order(member, path)

    def _note_other_name(self, wishes: list[_Wish], taken: list[tuple[str, bool]]) -> None:
        """Note that a group is renamed; the file that is reported is the one whose name was taken."""
        renamed = [
            (wish, path) for wish, (path, is_new) in zip(wishes, taken, strict=True) if is_new and path != wish.path
        ]
        if not renamed:
            return
        wish, path = next((pair for pair in renamed if not self._names.has_room(pair[0], 1)), renamed[0])
        wanted = posixpath.join(self._outdir.path, wish.path)
        self._renamed.append(RenamedOutput(wanted, path, is_twin=self._names.is_taken(wish.path)))

    def warn_of_other_names(self, merged: Merged) -> None:
        """Warn about each renamed output: its name, and why."""
        renamed = [replace(other, actual=merged.paths[other.actual]) for other in self._renamed]
        actual_names = {other.actual for other in renamed}
        renamed += [other for other in self._outdir.renamed if other.actual not in actual_names]
        warn(renamed, self._outdir.log)

    def _is_there(self, file: CwlFile, path: str) -> bool:
        """Whether an output is in ``outdir`` already under its own name: an input passed on as an output."""
        ref = None if _is_literal(file) else here(str(file["location"]), self._deployments)
        if ref is None:
            return False
        try:
            source = _stat(ref.path, folder=file["class"] == "Directory")
        except FileNotFoundError:
            return False
        if file["class"] == "Directory" and (source.st_dev, source.st_ino) == self._outdir.identity:
            self._in_outdir[id(file)] = self._outdir.path
            return True
        target = self._outdir.look(path, follow=True)
        if target is None or not os.path.samestat(source, target):
            return False
        self._in_outdir[id(file)] = posixpath.join(self._outdir.path, path)
        self._names.keep(path, str(file["location"]))
        return True

    def _order(self, file: CwlFile, path: str) -> None:
        if _is_literal(file):
            self._literals.append((path, file))
            for member in file.get("listing") or []:
                self._place(member, path)
            return
        ref = here(str(file["location"]), self._deployments)
        if ref is not None:
            self._near.append((ref, path, file))
        else:
            self._far.append((path, file))

    # --- assembling ---------------------------------------------------------------------------------------------------

    def assemble(self, tree: str) -> list[LineageEntry]:
        """Write literals, and copy files of this machine, to ``tree``.

        :raises TransferError: something cannot be copied, or was changed after it was produced; a
            :class:`LostDataError` names all files of which that is so.
        """
        os.makedirs(tree)
        for path, file in self._literals:
            target = Path(tree, path)
            if file["class"] == "Directory":
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(str(file.pop("contents", "")), encoding="utf-8")
        lineage: list[LineageEntry] = []
        lost: list[LostDataError] = []
        for ref, path, file in self._near:
            target = Path(tree, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            uri = self._uri(path)
            try:
                if file["class"] == "Directory":
                    lineage.append(copy_folder(ref, str(target), uri, self._outdir.identity))
                else:
                    lineage.append(copy_file(ref, str(target), uri, file.get("checksum")))
            except LostDataError as error:
                lost.append(error)
        if lost:
            raise all_lost(lost)
        return lineage

    def requests(self, host: Host, tree: str) -> list[StageRequest]:
        """Requests for what has to be transferred to ``tree`` from other machines."""
        return [StageRequest.of(file, host, posixpath.join(tree, path)) for path, file in self._far]

    def _uri(self, path: str) -> str:
        return FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, posixpath.join(self._outdir.path, path)).uri

    def uri_of(self, merged: Merged, path: str) -> str:
        """The final location of the file at ``path`` in the tree."""
        return self._uri(merged.paths[path])

    # --- the output object --------------------------------------------------------------------------------------------

    def describe(self, merged: Merged) -> None:
        """Give every file object its location, every Directory its listing, and every File its size and checksum.

        :param merged: the final places of the tree's members.
        """
        literals = {id(file) for _, file in self._literals}

        def describe(file: CwlFile) -> None:
            for secondary in file.get("secondaryFiles") or []:
                describe(secondary)
            if id(file) in self._in_outdir:
                there = self._in_outdir[id(file)]
                file["location"] = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, there).uri
                if file["class"] == "Directory":
                    file["listing"] = listing_of(there, frozenset())
                else:
                    measure(file, there)
                return
            path = self._paths[id(file)]
            file["location"] = self.uri_of(merged, path)
            if file["class"] == "File":
                measure(file, posixpath.join(self._outdir.path, merged.paths[path]))
            elif id(file) in literals:
                for member in file.get("listing") or []:
                    describe(member)
            else:
                file["listing"] = self._members(merged, path)

        for file in outermost_files(self.value):
            describe(cast(CwlFile, file))

    def _members(self, merged: Merged, path: str) -> list[JsonValue]:
        """The members of an output folder, without those of the folder that it was merged into."""
        members: list[JsonValue] = []
        for name, is_folder in merged.members[path]:
            inner_path = posixpath.join(path, name)
            file = entry_of(name, self.uri_of(merged, inner_path), is_folder)
            if is_folder:
                file["listing"] = self._members(merged, inner_path)
            else:
                measure(file, posixpath.join(self._outdir.path, merged.paths[inner_path]))
            members.append(file)
        return members


class _OutputNames:
    """Assigns paths in ``outdir`` to outputs."""

    def __init__(self, outdir: Outdir) -> None:
        self._outdir = outdir
        self._numbers: dict[tuple[str, str | int], int] = {}
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def keep(self, path: str, source: str) -> None:
        """``source`` is at ``path`` already."""
        self._numbers[path, source] = 1
        self._taken.add(path)

    def take(self, group: list[_Wish]) -> list[tuple[str, bool]]:
        """For each of a group: its path, and whether it is new. All new ones get the same number, 1 for none.

        A number that is taken for one of the group is not used for any of them: by another output, or by a file in
        ``outdir`` that must not be replaced.
        """
        new = list(dict.fromkeys(wish for wish in group if (wish.path, wish.source) not in self._numbers))
        if new:
            number = self._last.get(new[0].path, 1)
            while not all(self.has_room(wish, number) for wish in new):
                number += 1
            self._last[new[0].path] = number
            for wish in new:
                self._numbers[wish.path, wish.source] = number
                self._taken.add(numbered(wish.path, number))
        return [(numbered(wish.path, self._numbers[wish.path, wish.source]), wish in new) for wish in group]

    def is_taken(self, path: str) -> bool:
        """Whether an output of this run has the path."""
        return path in self._taken

    def has_room(self, wish: _Wish, number: int) -> bool:
        """Whether a wish's path with that number is free."""
        path = numbered(wish.path, number)
        if path in self._taken:
            return False
        # if a taken name is an error, the merge reports all of them at once
        return self._outdir.existing == "fail" or self._outdir.has_room(path, wish.folder)


def here(uri: str, deployments: Mapping[str, Deployment]) -> FileRef | None:
    """The file at ``uri`` if it is on this machine: then it need not be sent as a stream."""
    ref = FileRef.of(uri)
    if ref is None:
        return None
    deployment = deployments.get(ref.deployment)
    local = ref.deployment == LOCAL_DEPLOYMENT or (
        # files of another user's jobs are read as that user
        deployment is not None and deployment.type == "local" and not deployment.config.get("run_as")
    )
    return ref if local else None


def _stat(path: str, *, folder: bool) -> os.stat_result:
    """The status of a file or folder; links in a job's outputs are not followed.

    :raises TransferError: a job has replaced it by a link.
    """
    if job_directory_of(path) is None:
        return os.stat(path)
    with opened(path, folder=folder) as number:
        return os.fstat(number)


def _with_secondaries(file: CwlFile) -> Iterator[CwlFile]:
    yield file
    for secondary in file.get("secondaryFiles") or []:
        yield from _with_secondaries(secondary)


def _is_literal(file: Mapping[str, Any]) -> bool:
    """Whether a File or Directory exists as a value only."""
    source = file.get("location")
    return source is None or str(source).startswith("_:")
