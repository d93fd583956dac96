# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The batch directory at a location, the source of truth about a batch; pure builders and parsers, no I/O.

::

    T/                      task directory: a function of dag, run, task, map index and generation
      lock lock.*           one submit at a time: a lock, and claims, for hosts that do not share locks
      cancelled.<try>       nothing more of this or earlier tries is submitted (cancelled: of any try)
      <name>/               batch directory
        cancelled           no more jobs of the batch are started
        manifest meta.json  keys of the jobs, one per line; what a reader needs to know about them
        submitting.<part>   written before the scheduler is asked: the name to look up if the answer is lost
        jobid.<part> jobid  the scheduler's id, each written atomically
        also.<part>.<id>    an id that the part has besides: two hosts have submitted it
        c/<index>           claim: which element has the job
        ec/<index>          exit code: empty counts as absent
        f/<index>           its exit code is not 0, or it was not started
        disk                `full`, if the file system was full when a job ended or should have begun
        <key>/              job directory: out, tmp, in, stdout, stderr

One remote command submits a batch. It can be repeated at any time, by anybody, after any loss of connection.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model import JobScript, JsonValue, Resources
from airflow_hybrid.schedulers.base import Submission
from airflow_hybrid.sites.batches.script import common_exports
from airflow_hybrid.sites.batches.submitted import PLAIN_NAME, BatchMeta, JobMeta

_OWN_NAMES = frozenset(
    (
        "c",
        "ec",
        "f",
        "s",
        "log",
        "said",
        "disk",
        "cancelled",
        "manifest",
        "meta.json",
        "jobid",
        "stage.tar",
        "runner.sh",
        "launch.sh",
    )
)
_OWN_PREFIXES = ("host-", "also.", "jobid.", "submitting.", "batch.", "jobs.")
GZIP_FROM_BYTES = 256 << 10
_BATCH = re.compile(r"g\d{1,9}-[0-9a-f]{10}(@[^/]{1,200})?/a\d{1,9}-(r\d{1,6}-)?[0-9a-f]{1,40}")
"""path of a batch directory below its task's folder: of a generation and its instance, and of the batch"""


@dataclass(frozen=True)
class Batch:
    """The jobs of one step that run together at one location.

    :ivar directory: absolute path ``<task directory>/<name>``.
    :ivar title: for people; the scheduler's job name begins with it.
    :ivar keys: names of the job directories, plain and unique; ``jobs`` in the same order.
    :ivar options: native options of the scheduler for this batch, added to those of the service.
    :ivar locations: how many locations each job uses at once.
    :ivar known_batches: names of the other batches of the task directory that the caller knows about.
    :ivar indexes: for people: which of its step's jobs each one is; empty: it is not said.
    """

    directory: str
    title: str
    keys: tuple[str, ...]
    jobs: tuple[JobScript, ...]
    resources: Resources = field(default_factory=Resources)
    options: Mapping[str, Any] = field(default_factory=dict)
    known_batches: tuple[str, ...] = ()
    locations: int = 1
    indexes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_directory(self.directory)
        if not self.jobs or len(self.keys) != len(self.jobs) or len(set(self.keys)) != len(self.keys):
            raise ValueError(f"a batch needs one unique key per job: {len(self.keys)} keys, {len(self.jobs)} jobs")
        for word in (self.name, *self.keys, *self.known_batches):
            if not PLAIN_NAME.match(word):
                raise ValueError(f"not a plain name: {word!r}")
        bad = [key for key in self.keys if key in _OWN_NAMES or key.startswith(_OWN_PREFIXES)]
        if bad:
            raise ValueError(f"the batch directory has a file of that name: {bad[0]!r}")

    @property
    def name(self) -> str:
        """The batch's name, which is that of its directory."""
        return posixpath.basename(self.directory)

    @property
    def task_directory(self) -> str:
        return posixpath.dirname(self.directory)


@dataclass(frozen=True)
class BatchReport:
    """What a batch directory says.

    :ivar name: of the batch; in answers of a site it stands on a line ``B <name>``.
    :ivar scheduler_ids: of its parts, in order; then of what was submitted besides.
    :ivar results: exit codes by key, of the jobs that ended; None: the command could not be started.
    :ivar attached: whether it was submitted before it was to be submitted now.
    """

    name: str
    directory: str
    keys: tuple[str, ...]
    scheduler_ids: tuple[str, ...]
    results: Mapping[str, int | None] = field(default_factory=dict)
    attached: bool = False

    @property
    def attempt(self) -> int:
        """The try that a batch named ``a<try>-<digest>`` belongs to; 0 for any other name."""
        return attempt_of(self.name)

    @property
    def resubmission(self) -> int:
        """How often the try had submitted its jobs before; see :func:`resubmission_of`."""
        return resubmission_of(self.name)


@dataclass(frozen=True)
class Ending:
    """One ``ec/<index>``: exit code (None: not started, see ``reason``) and wall time.

    :ivar signal: name of a signal (``TERM``) that the runner got while the job ran; its sender may have ended the job.
    :ivar memory_kills: how many processes of the element the kernel killed in that time for lack of memory.
    :ivar node: where it ran, by the node's own name.
    :ivar disk_full: the file system was full when this should have been written.
    :ivar began: when its command was started, in seconds since the epoch by the node's clock.
    :ivar cpu_s: processor time of it and of the processes that it waited for, in seconds.
    :ivar memory_used_mib: the most memory that its largest process used at a time or, where the kernel counts what the
        element uses, that of all of them, with the parts of files that they had in memory.
    """

    exit_code: int | None
    seconds: float | None = None
    reason: str = ""
    signal: str = ""
    memory_kills: int = 0
    disk_full: bool = False
    node: str = ""
    began: float | None = None
    cpu_s: float | None = None
    memory_used_mib: int | None = None


@dataclass(frozen=True)
class Evidence:
    """The content of a batch directory when its jobs are judged; endings and claims by job index.

    :ivar description: the content of ``meta.json``, if it was read; :class:`BatchMeta` checks it.
    :ivar disk_full: a runner found the file system full.
    :ivar submitted: when the scheduler had accepted it, in seconds since the epoch by the site's clock.
    """

    description: JsonValue | None
    ids: tuple[str, ...]
    endings: Mapping[int, Ending]
    claims: Mapping[int, str]
    cancelled: bool
    present: bool
    disk_full: bool = False
    submitted: float | None = None


def is_batch_path(path: str) -> bool:
    """Whether a path below a task's folder can be that of a batch directory; half of a surrogate pair has no bytes."""
    try:
        path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return _BATCH.fullmatch(path) is not None


def attempt_of(name: str) -> int:
    """The try that a batch named ``a<try>-<digest>`` belongs to; 0 for any other name."""
    match = re.match(r"a(\d{1,9})-", name)
    return int(match[1]) if match else 0


def resubmission_of(name: str) -> int:
    """How often a try had submitted the jobs of a batch named ``a<try>-r<times>-<digest>`` before; 0 for any other."""
    match = re.match(r"a\d{1,9}-r(\d{1,6})-", name)
    return int(match[1]) if match else 0


def check_directory(path: str) -> str:
    """:raises ValueError: not absolute, not normal, or with a line break."""
    if not path.startswith("/") or posixpath.normpath(path) != path or "\n" in path or "\0" in path:
        raise ValueError(f"not an absolute and normal path of one line: {path!r}")
    return path


def ancestors(path: str) -> list[str]:
    """A folder and those above it, without the root."""
    folders = []
    while path not in ("/", ""):
        folders.append(path)
        path = posixpath.dirname(path)
    return folders


def scheduler_name(batch: Batch) -> str:
    """The job name at the scheduler: readable, and unique to the batch directory."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", batch.title).strip("-.")[:40] or "batch"
    if not plain[0].isalpha():  # PBS and Grid Engine want a letter first
        plain = f"j{plain}"
    return f"{plain}-{hashlib.sha256(batch.directory.encode(errors='surrogateescape')).hexdigest()[:12]}"


def submission(batch: Batch, **more: Any) -> Submission:
    """The batch in the scheduler's terms; ``more``: the fields that the queue knows."""
    limits = [job.walltime_s for job in batch.jobs]
    return Submission(
        directory=batch.directory,
        name=scheduler_name(batch),
        jobs=len(batch.jobs),
        nodes=batch.locations,
        resources=batch.resources,
        walltime_s=None if None in limits else max(w for w in limits if w is not None),
        environment=common_exports(batch.jobs),
        **more,
    )


def description(batch: Batch, max_array: int) -> BatchMeta:
    """The content of ``meta.json``; jobs with default values are left out."""
    described = {}
    for key, job in zip(batch.keys, batch.jobs, strict=True):
        if job.stdout or job.stderr or job.walltime_s:
            described[key] = JobMeta(job.stdout, job.stderr, job.walltime_s)
    memory_mib = batch.resources.ram_mib if "ram_mib" in batch.resources.explicit else None
    indexes = batch.indexes if any(batch.indexes) else ()
    return BatchMeta(batch.keys, max_array, described, memory_mib, indexes)
