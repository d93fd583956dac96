# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files that were made again: what has taken the place of each one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_hybrid.model import CwlObject, FileRef, JsonValue
from airflow_hybrid.model.walking import FILE_CLASSES, map_files
from airflow_hybrid.sites.hosts.job_folders import job_directory_of

_OF_THE_FILE = ("location", "size", "checksum")
_MOST_TIMES = 100
"""that a file is lost, one after the other"""
_LONGEST = 1 << 14
"""characters of the location of what may be in a folder that was made again: each folder above it is looked for"""


class Renewed:
    """What has taken the place of lost files in the values of a DAG run.

    The values themselves stay in their XComs, as their tasks have published them; whoever reads one, reads it through
    this table.
    """

    def __init__(self, files: Mapping[str, CwlObject] | None = None) -> None:
        self._files: dict[str, CwlObject] = dict(files or {})
        """by the location of what is lost"""

    def to_json(self) -> JsonValue:
        return dict(self._files)

    @classmethod
    def from_json(cls, value: Any) -> Renewed:
        """The table that an earlier worker of the same try has left; what is no table counts as none.

        Where the files may be is judged as for every value that a task has published.
        """
        if not isinstance(value, Mapping):
            return cls()
        files = {
            old: {name: new[name] for name in _OF_THE_FILE if name in new}
            for old, new in value.items()
            if isinstance(old, str) and isinstance(new, Mapping) and isinstance(new.get("location"), str)
        }
        return cls(files)

    def __bool__(self) -> bool:
        return bool(self._files)

    @property
    def originals(self) -> dict[str, str]:
        """By the location of each file that was made again, that of the first one."""
        later = {str(file["location"]) for file in self._files.values()}
        return {str(self._latest(old)["location"]): old for old in self._files if old not in later}

    def holds(self, location: str) -> bool:
        """Whether a lost file was made again, by itself or in its folder."""
        return self._found(location) is not None

    def note(self, old: JsonValue, new: JsonValue) -> list[str]:
        """Note what is different in a value that was made again.

        :param old: the value before; ``new``: the value now, where null stands for what was not made again.
        :return: locations of files whose content is another one now.
        """
        changed: list[str] = []
        self._compare(old, new, changed)
        return changed

    def _compare(self, old: Any, new: Any, changed: list[str]) -> None:
        if isinstance(old, list) and isinstance(new, list):
            if len(old) == len(new):
                for before, now in zip(old, new, strict=True):
                    self._compare(before, _counterpart(before, now, old, new), changed)
            return
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            return
        if old.get("class") in FILE_CLASSES and old.get("class") == new.get("class"):
            self._compare_files(old, new, changed)
            return
        for name in old:
            self._compare(old[name], new.get(name), changed)

    def _compare_files(self, old: Mapping[str, Any], new: Mapping[str, Any], changed: list[str]) -> None:
        before, now = old.get("location"), new.get("location")
        if isinstance(before, str) and isinstance(now, str) and before != now:
            self._files[before] = {name: new[name] for name in _OF_THE_FILE if name in new}
            if (old.get("size"), old.get("checksum")) != (new.get("size"), new.get("checksum")):
                changed.append(before)
        for members in ("secondaryFiles", "listing"):
            theirs = {item.get("basename"): item for item in new.get(members) or ()}
            for item in old.get(members) or ():
                self._compare(item, theirs.get(item.get("basename")), changed)

    def applied(self, value: JsonValue) -> JsonValue:
        """A value in which what was made again has taken the place of what is lost."""
        return map_files(self._renewed, value) if self._files else value

    def _renewed(self, file: CwlObject) -> CwlObject:
        now = self._found(str(file.get("location")))
        if now is None:
            return file
        made = {**file, **now}
        if made.get("checksum") != file.get("checksum"):
            made.pop("contents", None)
        return made

    def _found(self, location: str) -> CwlObject | None:
        """What has taken the place of a file, or of a member of a folder."""
        if location in self._files:
            return self._latest(location)
        folder = location if len(location) <= _LONGEST else ""
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in self._files:
                return {"location": f"{self._latest(folder)['location']}{location[len(folder) :]}"}
        return None

    def _latest(self, location: str) -> CwlObject:
        """What has taken its place at last: it may have been lost more than once."""
        now = self._files[location]
        seen = {location}
        while (where := str(now["location"])) in self._files and where not in seen and len(seen) < _MOST_TIMES:
            seen.add(where)
            now = self._files[where]
        return now


def _counterpart(before: Any, now: Any, old: list[Any], new: list[Any]) -> Any:
    """What was made again for an item of a list: a pattern may find other files this time, in other places.

    :param before: the item of ``old``; ``now``: that of ``new`` in its place.
    """
    if not _is_file(before) or not _is_file(now) or before.get("basename") == now.get("basename"):
        return now
    job = _job_of(before)
    if job is not None and all(_jobs_of(items).count(job) == 1 for items in (old, new)) and _job_of(now) == job:
        return now  # the only output of its job, whose name may differ each time
    same = [item for item in new if _is_file(item) and item.get("basename") == before.get("basename")]
    return same[0] if len(same) == 1 else None


def _jobs_of(items: list[Any]) -> list[str | None]:
    return [_job_of(item) for item in items if _is_file(item)]


def _job_of(file: Mapping[str, Any]) -> str | None:
    """The name of the job that made a file."""
    try:
        ref = FileRef.of(str(file.get("location")))
    except ValueError:
        return None
    job = None if ref is None else job_directory_of(ref.path)
    return None if job is None else job.rpartition("/")[2]


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class") in FILE_CLASSES
