# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The interface of a scheduler: text out (shell), values in (parsed answers). No I/O happens here.

A scheduler never meets a host; :class:`airflow_hybrid.sites.batches.queue.JobQueue` joins the two, so "Slurm over SSH"
needs no class. What a scheduler says is about its queue. A job's result is in the exit-code file in the batch directory
(:mod:`airflow_hybrid.sites.batches.directory`).
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.estimates import Capacity, wait
from airflow_hybrid.schedulers.usage import Usage

DEFAULT_TEMPLATE = "#!/bin/sh\n{{ hybrid_command }}\n"
_PLACEHOLDERS = re.compile(r"\b(streamflow|hybrid)_command\b")


@dataclass(frozen=True)
class Submission:
    """One batch, as its scheduler gets it.

    :ivar directory: absolute path of the batch directory; no newline in it.
    :ivar name: of the batch, in ``[A-Za-z0-9._-]`` and unique to its directory; a submit of unknown outcome is looked
        up by it.
    :ivar jobs: how many jobs the batch has; job indexes are ``0 .. jobs - 1``.
    :ivar walltime_s: the longest ToolTimeLimit of the jobs; None if one of them has none.
    :ivar options: the scheduler's native options (StreamFlow's spelling), without our own keys.
    :ivar template: text of the user's Jinja2 template, or None.
    :ivar environment: shell text that exports variables that all jobs share, for ``streamflow_environment``.
    :ivar pack_s: an array element that has run for less than this takes another job.
    :ivar max_concurrent: how many elements of this batch may run at once (None: no limit).
    :ivar max_array: the largest number of elements of one array job.
    :ivar nodes: how many nodes each job uses at once.
    :ivar deployment: name of the deployment; on a plain host its jobs share ``host_cores``.
    :ivar host_cores: how many cores of a plain host the deployment's jobs may use (None: all).
    """

    directory: str
    name: str
    jobs: int
    resources: Resources = field(default_factory=Resources)
    walltime_s: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    environment: str = ":"
    pack_s: float = 10.0
    max_concurrent: int | None = None
    max_array: int = 1000
    deployment: str = ""
    host_cores: int | None = None
    nodes: int = 1

    @property
    def cores(self) -> int | None:
        """Whole cores that a job asks for (each of its processes, if it has several); None if it does not say."""
        return whole_cores(self.resources.cores) if "cores" in self.resources.explicit else None

    @property
    def processes(self) -> int:
        """Processes of an MPI job; 0 for any other."""
        return self.resources.processes

    @property
    def gpus(self) -> int:
        """GPUs that a job asks for."""
        return self.resources.gpus

    @property
    def memory_mib(self) -> int | None:
        """Memory that a job asks for, for all its processes together; None if it does not say."""
        return self.resources.ram_mib if "ram_mib" in self.resources.explicit else None

    @property
    def limit_s(self) -> int | None:
        """Seconds that an element may take: the longest job, and what packing may add."""
        return None if self.walltime_s is None else int(self.walltime_s + self.pack_s + 30)


@dataclass(frozen=True)
class QueueView:
    """What the queue says about one submitted id: elements running and pending, and why those wait."""

    running: int = 0
    pending: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class ElementState:
    """The state of one array element (or whole job), as its scheduler reports it."""

    state: JobState
    reason: str = ""
    """in the site's words: native state, exit code, reason, node"""
    exited: bool = False
    """its script ended on its own, with an exit code other than 0"""
    node: str = ""
    """where it ran, if that is known and it was one node"""


@dataclass(frozen=True)
class Account:
    """What the queue and the accounting together know about some ids.

    :ivar elements: element id -> state.
    :ivar complete: every source that might know was asked and answered. Only then does a missing element mean anything.
    :ivar problem: the words of a source that failed.
    :ivar heard: every source that knows which jobs are alive has answered. A job that none of them mentions has ended,
        though it may be unknown how. Otherwise a job that is not mentioned is unknown, however long that lasts.
    """

    elements: Mapping[str, ElementState]
    complete: bool
    problem: str = ""
    heard: bool = True


class Scheduler(abc.ABC):
    """Pairs of command builder and answer parser. Stateless: one instance serves all hosts.

    The shell text runs in ``/bin/sh`` on the login host with two variables set, which are not exported: ``ah_B`` (the
    batch directory, also the working directory) and ``ah_T`` (the task directory, whose ``lock`` is held on
    descriptor 9).
    """

    name: str
    version_command: str = ""
    """shell text that prints the scheduler's name and version, for `airflow hybrid check`"""
    leaves_elements: bool = False
    """elements with nothing left to do may still wait in the queue when all jobs have ended"""
    limits: str = ""
    """shell text that prints the site's largest array, if the scheduler has arrays"""
    status_interval_s: float = 0.3
    """shortest time between two questions to the scheduler itself (exit-code files may be counted more often)"""
    client_variables: tuple[str, ...] = ()
    """environment variables by which its programs find their cluster (from their manuals)"""
    excludes_nodes: bool = False
    """it can be told on which nodes a job is not to run (:meth:`without_nodes`)"""
    asks: bool = False
    """its shell text asks the caller to do what only the caller can (:mod:`airflow_hybrid.sites.hosts.dialogue`)"""

    def asks_alike(self, one: Submission, other: Submission) -> bool:
        """Whether it would be asked for the same for both, as what the user's options and template set comes first."""
        return False

    def without_nodes(self, options: Mapping[str, Any], nodes: Sequence[str]) -> Mapping[str, Any]:
        """Native options by which jobs run on other nodes, where it has such an option.

        :param options: the native options that they have; ``nodes``: names of nodes.
        """
        return options

    @abc.abstractmethod
    def parts(self, submission: Submission) -> int:
        """How many submissions the batch takes (an array has a largest size)."""

    @abc.abstractmethod
    def scripts(self, submission: Submission) -> dict[str, str]:
        """The scheduler's own files of the batch directory: relative path -> text."""

    @abc.abstractmethod
    def runner_tail(self, submission: Submission) -> str:
        """The end of ``runner.sh``: it says which element this is, and starts the runner
        (:mod:`airflow_hybrid.sites.batches.runner`).
        """

    @abc.abstractmethod
    def submit_function(self, submission: Submission) -> str:
        """Shell function ``ah_start PART``: submit it (the working directory is the batch directory).

        Sets ``ah_id``, or returns 1 (refused) or 2 (it may or may not have been accepted) with the scheduler's words
        in ``ah_said``.
        """

    @abc.abstractmethod
    def functions(self) -> str:
        """Shell functions that know the scheduler but not the batch.

        ``ah_need``: print the names of missing programs. ``ah_find NAME [SITE]``: look a job up by name; set
        ``ah_id`` (empty: there is certainly none) or return 2 (unknown) with the scheduler's words in ``ah_said``.
        ``ah_cancel ID...`` and ``ah_cancel_name NAME [SITE]``: non-zero if the jobs could not be cancelled.
        """

    def part_name(self, submission: Submission, part: int) -> str:
        """Arguments of ``ah_find``: the name of one part and, after a space, its site (cluster), if it has one."""
        return submission.name

    @abc.abstractmethod
    def status_command(self, ids: Sequence[str]) -> str:
        """Shell text that prints what the queue knows about ``ids`` and, last, a line ``#rc <exit code>``."""

    @abc.abstractmethod
    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        """The ids that the queue still has. An id that is left out is not in the queue.

        :raises airflow_hybrid.errors.StatusUnknownError: the question was not answered.
        """

    @abc.abstractmethod
    def account_command(self, ids: Sequence[str]) -> str:
        """Shell text that asks every source that may know how ``ids`` ended."""

    @abc.abstractmethod
    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        """Never raises: what was not answered leaves the account incomplete."""

    def usage_command(self, ids: Sequence[str]) -> str:
        """Shell text that asks the accounting what the elements of ``ids`` used; ``""``: it cannot be asked."""
        return ""

    def parse_usage(self, text: str, ids: Sequence[str]) -> dict[str, Usage] | None:
        """What elements used, by their ids; those are left out of which the accounting does not know yet that they have
        ended. None: the site has no accounting, or it does not answer.
        """
        return None

    @abc.abstractmethod
    def element_id(self, ids: Sequence[str], jobs: int, index: int, max_array: int) -> str | None:
        """The element that was meant to run job ``index``, unless another one took it."""

    def claimed_id(self, claim: str, ids: Sequence[str]) -> str:
        """The element's id, from the name that its runner wrote when it took a job."""
        return claim

    def array_id(self, element: str) -> str:
        """The submitted id that an element's id belongs to."""
        return element

    def limits_command(self) -> str:
        """Shell text that asks for the site's :attr:`limits`; ``""``: the scheduler cannot be asked."""
        return self.limits

    def parse_max_array(self, text: str) -> int | None:
        """Most elements of one array, from the answer to :attr:`limits`; None if it does not say."""
        return None

    def too_large(self, refusal: str) -> bool:
        """Whether the submit was refused because of the array's size."""
        return False

    def restarts(self, submission: Submission) -> bool:
        """Whether the scheduler may start an element a second time."""
        return False

    def refused_for_good(self, refusal: str) -> bool:
        """Whether the scheduler would refuse the same submit again."""
        return False

    def refusal_passes(self, refusal: str) -> bool:
        """Whether it is known that the scheduler will accept the same submit later: it is down, or a quota is used."""
        return False

    hosts_command: str = ""
    """shell text that prints, in a job, the names of its nodes, its own first; ``""``: a job cannot have several"""
    on_host: bool = False
    """jobs are processes of the host itself, and share its cores and memory"""

    def capacity_command(self, submission: Submission) -> str:
        """Shell text that asks how much capacity there is for such a batch; ``""``: the scheduler cannot be asked."""
        return ""

    def parse_capacity(self, text: str) -> Capacity:
        """The answer to :meth:`capacity_command`; what it does not say is unknown."""
        return Capacity()

    def everybody_command(self) -> str:
        """Shell text that counts the jobs of everybody (:mod:`.everybody`); ``""``: the scheduler cannot be asked."""
        return ""

    def wait_command(self, submission: Submission) -> str:
        """Shell text that asks when such a batch would start, and submits nothing; ``""``: it cannot be asked."""
        return ""

    def parse_wait(self, text: str) -> tuple[float | None, str]:
        """The answer to :meth:`wait_command`: seconds, or None and the site's words if it does not know."""
        return wait(text)

    def explain(self, reason: str) -> str:
        """A pending reason and what it means to the user; ``""`` for one that passes by itself."""
        return ""

    def hopeless(self, reason: str) -> bool:
        """Whether a pending reason means that the job can never run as it is, so that there is no point in waiting."""
        return False


def render(submission: Submission, command: str, **names: object) -> str:
    """Fill the user's template (StreamFlow's variables and ours) with the command that runs this batch.

    ``streamflow_command`` and ``hybrid_command`` are one simple command; ``streamflow_environment`` is shell text
    that is valid alone or before ``&&``; ``streamflow_workdir`` is the batch directory.

    :raises airflow_hybrid.errors.ConfigError: the template is not valid or never runs the command.
    """
    source = submission.template if submission.template is not None else DEFAULT_TEMPLATE
    if not _PLACEHOLDERS.search(source):
        raise ConfigError("the template never uses {{ streamflow_command }}, so it would run nothing")
    text = fill(submission, source, command, None, **names)
    return text if text.startswith("#!") else f"#!/bin/sh\n{text}"


def fill(
    submission: Submission,
    source: str,
    command: str,
    stand_in: Callable[[object], object] | None,
    /,
    **names: object,
) -> str:
    """Fill a template of any kind with the names that :func:`render` documents.

    :param stand_in: gives what is put into the text for the value of an expression; None: the value.
    :raises airflow_hybrid.errors.ConfigError: it is not valid, or uses other names.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    values: dict[str, object] = {
        "command": command,
        "environment": submission.environment,
        "workdir": submission.directory,
    }
    values = {f"{prefix}_{key}": value for prefix in ("streamflow", "hybrid") for key, value in values.items()}
    values.update(
        job_name=submission.name,
        jobs=submission.jobs,
        cores=whole_cores(submission.resources.cores),
        memory_mib=submission.resources.ram_mib,
        walltime_s=submission.walltime_s,
        **names,
    )
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=stand_in
    )
    try:
        text = environment.from_string(source).render(values)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(
            f"the template of the service cannot be filled in: {error}",
            where=f"template, line {line}" if line else None,
            hint=f"it may use: {', '.join(sorted(values))}",
        ) from None
    return text.replace("\r\n", "\n")


def interpreter(script: str) -> list[str]:
    """Argument vector of a script's ``#!`` line (work directories may be mounted noexec)."""
    first = script.partition("\n")[0]
    return first[2:].split(None, 1) if first.startswith("#!") and first[2:].strip() else ["/bin/sh"]


def whole_cores(number: float) -> int:
    """Round up: schedulers give out whole cores."""
    return max(1, -(-int(number * 1000) // 1000))
