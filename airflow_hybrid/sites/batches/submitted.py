# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a reader needs to know about a batch: its ids at the scheduler, and its description (``meta.json``). Pure."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model import JsonValue
from airflow_hybrid.sites.batches.script import out_path

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\Z")
"""names of batches and jobs; they are names of folders, and cannot lead anywhere else"""


@dataclass(frozen=True)
class JobMeta:
    """What a reader needs to know about one job.

    :ivar stdout: path relative to its output directory; None: the log file in its job directory. ``stderr`` likewise.
    :ivar walltime_s: its time limit.
    """

    stdout: str | None = None
    stderr: str | None = None
    walltime_s: int | None = None

    def to_json(self) -> JsonValue:
        """With keys of one letter, and none for what is not set, so that large batches stay small."""
        letters = {"o": self.stdout, "e": self.stderr, "w": self.walltime_s}
        return {letter: value for letter, value in letters.items() if value}

    @classmethod
    def from_json(cls, value: object) -> JobMeta:
        """:raises ValueError: it is not a description of a job."""
        if not isinstance(value, Mapping):
            raise ValueError("the description of a job is not a mapping")
        walltime_s = value.get("w")
        if walltime_s is not None and not _is_number(walltime_s):
            raise ValueError("a job's time limit is not a number of seconds")
        return cls(_path(value.get("o")), _path(value.get("e")), walltime_s)


_NOTHING_SPECIAL = JobMeta()


@dataclass(frozen=True)
class BatchMeta:
    """The description of a batch, kept in its directory for other processes.

    :ivar keys: names of the jobs, in the order of their indexes.
    :ivar max_array: the largest number of elements of one array when the batch was submitted.
    :ivar jobs: by key; jobs with default values are left out.
    :ivar memory_mib: the memory that each job asked for, or None.
    :ivar indexes: for people: which of its step's jobs each one is; empty: its only one, or it is not said.
    """

    keys: tuple[str, ...]
    max_array: int
    jobs: Mapping[str, JobMeta] = field(default_factory=dict)
    memory_mib: int | None = None
    indexes: tuple[str, ...] = ()

    def job(self, index: int) -> JobMeta:
        """The description of the job with this index."""
        return self.jobs.get(self.keys[index], _NOTHING_SPECIAL)

    def to_json(self) -> JsonValue:
        described: dict[str, Any] = {
            "keys": list(self.keys),
            "jobs": {key: job.to_json() for key, job in self.jobs.items()},
            "max_array": self.max_array,
        }
        if self.memory_mib is not None:
            described["memory_mib"] = self.memory_mib
        if self.indexes:
            described["indexes"] = list(self.indexes)
        return described

    @classmethod
    def from_json(cls, value: object) -> BatchMeta:
        """Read a description, which jobs of the batch may have changed.

        Unknown keys are ignored: another version may have written them.

        :raises ValueError: it is not a description of a batch; says why.
        """
        if not isinstance(value, Mapping):
            raise ValueError("it is not a mapping")
        jobs = value.get("jobs")
        if not isinstance(jobs, Mapping):
            raise ValueError("`jobs` is not a mapping")
        max_array, memory_mib = value.get("max_array"), value.get("memory_mib")
        if not isinstance(max_array, int) or max_array < 1:
            raise ValueError("`max_array` is not a number of elements")
        if memory_mib is not None and not _is_number(memory_mib):
            raise ValueError("`memory_mib` is not a number of MiB")
        described = {str(key): JobMeta.from_json(job) for key, job in jobs.items()}
        keys = _keys(value.get("keys"))
        return cls(keys, max_array, described, memory_mib, _indexes(value.get("indexes"), len(keys)))


@dataclass(frozen=True)
class SubmittedBatch:
    """A batch that was submitted by any process.

    :ivar directory: the batch directory.
    :ivar ids: the scheduler's ids of its parts; empty if they are unknown.
    """

    directory: str
    ids: tuple[str, ...]
    meta: BatchMeta

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return len(self.meta.keys)

    def stdout_path(self, index: int) -> str:
        """Absolute path of a job's stdout."""
        return self._stream(index, out_path(self.meta.job(index).stdout, "stdout"))

    def stderr_path(self, index: int) -> str:
        """Absolute path of a job's stderr."""
        return self._stream(index, out_path(self.meta.job(index).stderr, "stderr"))

    def _stream(self, index: int, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.directory, self.meta.keys[index], "out", path))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _path(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _is_name_of_file(value):
        raise ValueError("the file of a job's stdout or stderr is not a path")
    return value


def _is_name_of_file(value: str) -> bool:
    """No file has a NUL in its name, or half of a surrogate pair; bytes that are no UTF-8 are other halves."""
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _indexes(value: object, count: int) -> tuple[str, ...]:
    """Nothing depends on them but what people are shown, so wrong ones are left out."""
    if not isinstance(value, list) or len(value) != count or not all(isinstance(index, str) for index in value):
        return ()
    return tuple(value)


def _keys(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("`keys` is not a list of the batch's jobs")
    for key in value:
        if not isinstance(key, str) or not PLAIN_NAME.match(key):
            raise ValueError(f"not a plain name of a job: {key!r}")
    if len(set(value)) != len(value):
        raise ValueError("two jobs have the same name")
    return tuple(value)
