# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job: its needs, what to run where, and how it ended."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model.containers import Container
from airflow_hybrid.model.values import JsonValue


class JobState(str, enum.Enum):
    """State of one job, with the names that users of schedulers know.

    ``UNKNOWN`` is the absence of evidence; it is neither gone nor finished. ``LOST`` is a failure: neither the
    exit code, nor the queue, nor the accounting knows the job after the grace period. ``DISK_FULL``: the file system of
    the batch directory was full when the job ended or was about to start.
    """

    UNKNOWN = "UNKNOWN"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"
    DISK_FULL = "DISK_FULL"
    LOST = "LOST"

    @property
    def ended(self) -> bool:
        return self not in (JobState.UNKNOWN, JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True)
class Resources:
    """A job's needs, evaluated to numbers: CWL's ResourceRequirement and ToolTimeLimit, cwltool's MPIRequirement and
    CUDARequirement.

    ``explicit`` names the fields that the document itself gives; the others are defaults of the standard
    and are not turned into native requests.

    :ivar cores: per process, if there are several.
    :ivar ram_mib: of all processes together.
    :ivar processes: number of processes that an MPI runner starts; 0: not an MPI job.
    """

    cores: float = 1
    ram_mib: int = 256
    tmpdir_mib: int = 1024
    outdir_mib: int = 1024
    walltime_s: int | None = None
    processes: int = 0
    gpus: int = 0
    explicit: frozenset[str] = frozenset()

    @property
    def all_cores(self) -> float:
        """Cores of all processes together."""
        return self.cores * max(1, self.processes)

    def with_asked(self, values: Mapping[str, Any]) -> Resources:
        """With other values in some of the fields, which count as if the document gave them."""
        return dataclasses.replace(self, **values, explicit=self.explicit | set(values))

    def to_json(self) -> JsonValue:
        return {**dataclasses.asdict(self), "explicit": sorted(self.explicit)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Resources:
        return cls(**{**value, "explicit": frozenset(value["explicit"])})


@dataclass(frozen=True)
class StageEntry:
    """Something that must exist in a job's directory before its command starts.

    :ivar kind: ``mkdir``; ``file`` (with ``text``, a literal); ``link`` (symbolic, to ``source``);
        ``copy`` (of ``source``, file or directory, writable).
    :ivar target: absolute path at the location.
    :ivar source: absolute path at the location, for ``link`` and ``copy``.
    """

    kind: str
    target: str
    source: str | None = None
    text: bytes | None = None
    executable: bool = False


@dataclass(frozen=True)
class JobScript:
    """One job, ready to run at a location.

    :ivar command: the argument vector, unquoted; when ``shell`` is true the single element is shell text
        (ShellCommandRequirement, already quoted by cwltool).
    :ivar environment: EnvVarRequirement plus HOME and TMPDIR; values unquoted.
    :ivar stdin: absolute path or None; ``stdout`` and ``stderr``: paths relative to outdir, or None for the
        job's log files.
    :ivar stage: in the order in which it has to be made.
    :ivar container: where the command runs: the command and its environment name paths inside it, all else outside.
    """

    command: tuple[str, ...]
    outdir: str
    tmpdir: str
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    shell: bool = False
    stage: tuple[StageEntry, ...] = ()
    walltime_s: int | None = None
    container: Container | None = None


@dataclass(frozen=True)
class JobResult:
    """How one job ended: its state, exit code, and the evidence."""

    state: JobState
    exit_code: int | None = None
    reason: str = ""
    """the site's own words (``NonZeroExitCode``, ``node2 down`` ...)"""
    scheduler_id: str | None = None
    stderr_tail: str = ""
    stdout_path: str = ""
    stderr_path: str = ""
    seconds: float | None = None
    node: str = ""
    """the node's own name for where it ran"""
    submitted: float | None = None
    """when the scheduler had accepted it, in seconds since the epoch; this and ``began`` by the site's clocks"""
    began: float | None = None
    """when its command was started, in seconds since the epoch"""
    cpu_s: float | None = None
    """processor time, in seconds; of a container's client, where a daemon runs the container"""
    memory_used_mib: int | None = None
    """the most memory that it used at a time, in MiB, rounded up"""
    alone: bool = False
    """the scheduler's element ran no other job, so what that used is what this job used"""
    memory_asked_mib: int | None = None
    """the memory that it asked for when it was submitted"""


@dataclass(frozen=True)
class Outside:
    """What a job uses at its location besides its own files and inputs, as far as its command line shows.

    These are names in its command line, environment and scripts that may mean something at the location.

    :ivar path: the value of PATH that the job sets for itself; None: the location's.
    :ivar words: possible programs on the PATH.
    :ivar commands: words that must be programs or parts of the shell; otherwise it is unknown what runs.
    :ivar files: absolute paths that are not the job's.
    :ivar variables: names of environment variables that its shell text reads and the job does not set.
    """

    path: str | None
    words: frozenset[str]
    commands: frozenset[str]
    files: frozenset[str]
    variables: frozenset[str]
