# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a batch scheduler is to us: text out (shell), values in (parsed answers). No I/O happens here.

A scheduler never meets a host; :class:`airflow_hybrid.sites.batches.queue.JobQueue` joins the two, so "Slurm over SSH"
needs no class. Everything that a scheduler says is a claim about its queue, not about a job's result: that is the
exit-code file in the batch directory (:mod:`airflow_hybrid.sites.batches.directory`).
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

DEFAULT_TEMPLATE = "#!/bin/sh\n{{ hybrid_command }}\n"
_PLACEHOLDERS = re.compile(r"\b(streamflow|hybrid)_command\b")


@dataclass(frozen=True)
class Submission:
    """One batch as a scheduler sees it.

    :ivar directory: absolute path of the batch directory; no newline in it.
    :ivar name: unique per batch directory and plain (``[A-Za-z0-9._-]``): what an ambiguous submit is looked up by.
    :ivar jobs: how many jobs the batch has; job indexes are ``0 .. jobs - 1``.
    :ivar walltime_s: the longest ToolTimeLimit of the jobs, or None where one of them has none.
    :ivar options: the scheduler's native options (StreamFlow's spelling), without our own keys.
    :ivar template: text of the user's Jinja2 template, or None.
    :ivar environment: shell text that exports what all jobs have in common, for ``streamflow_environment``.
    :ivar pack_s: an array element younger than this takes one more job.
    :ivar max_concurrent: how many elements of this batch may run at once (None: no limit).
    :ivar max_array: most elements of one array job.
    :ivar nodes: how many nodes each job has at once.
    :ivar deployment: its name; on a plain host its jobs share ``host_cores``.
    :ivar host_cores: how many cores jobs of the deployment use of a plain host at most (None: what it has).
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
        """Whole cores that a job (of several processes: each of them) asks for; None where it says nothing."""
        return whole(self.resources.cores) if "cores" in self.resources.explicit else None

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
        """Memory that a job asks for, all its processes together; None where it says nothing."""
        return self.resources.ram_mib if "ram_mib" in self.resources.explicit else None

    @property
    def limit_s(self) -> int | None:
        """Seconds that an element may take: the longest job, with what packing may add."""
        return None if self.walltime_s is None else int(self.walltime_s + self.pack_s + 30)


@dataclass(frozen=True)
class QueueView:
    """What the queue says of one submitted id: elements running and pending, and why they are not running."""

    running: int = 0
    pending: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class ElementState:
    """How one array element (or whole job) stands, by the scheduler's own account."""

    state: JobState
    reason: str = ""
    """in the site's words: native state, exit code, reason, node"""
    exited: bool = False
    """its script ended by itself, with an exit code other than 0"""


@dataclass(frozen=True)
class Account:
    """What queue and accounting together know of some ids.

    :ivar elements: element id -> state.
    :ivar complete: every source that could know was asked and answered; only then does a missing element mean
        anything.
    :ivar problem: what a source that failed said.
    :ivar heard: all those answered that know what is alive: whatever is in none of their answers has ended, although
        it may not be known how. Without that, what is missing is unknown, however long it lasts.
    """

    elements: Mapping[str, ElementState]
    complete: bool
    problem: str = ""
    heard: bool = True


class Scheduler(abc.ABC):
    """Pairs of command builder and answer parser. Stateless; one instance serves all hosts.

    Shell text returned here runs in ``/bin/sh`` on the login host with these variables set, quoted and exported to
    nobody: ``ah_B`` (batch directory, also the working directory) and ``ah_T`` (task directory, whose ``lock`` is
    held on descriptor 9).
    """

    name: str
    version_command: str = ""
    """shell text that prints the scheduler's name and version, for `airflow hybrid check`"""
    leaves_elements: bool = False
    """elements that found nothing left to do may wait in the queue when all jobs have ended"""
    limits: str = ""
    """shell text that prints the site's largest array, if the scheduler has arrays"""
    status_interval_s: float = 0.3
    """shortest time between two questions to the scheduler itself (exit-code files may be counted more often)"""
    client_variables: tuple[str, ...] = ()
    """environment variables by which its programs find their cluster (from their manuals)"""
    asks: bool = False
    """its shell text asks back what only the caller can do (:mod:`airflow_hybrid.sites.hosts.dialogue`)"""

    @abc.abstractmethod
    def parts(self, submission: Submission) -> int:
        """How many submissions the batch takes (an array has a largest size)."""

    @abc.abstractmethod
    def scripts(self, submission: Submission) -> dict[str, str]:
        """The scheduler's own files of the batch directory: relative path -> text."""

    @abc.abstractmethod
    def runner_tail(self, submission: Submission) -> str:
        """End of ``runner.sh``: says which element this is and starts the runner
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
        """Shell functions that know the scheduler and not the batch.

        ``ah_need``: print the names of programs that are missing. ``ah_find NAME [SITE]``: look up by name; set
        ``ah_id`` (empty: certainly not there) or return 2 (not known) with words in ``ah_said``. ``ah_cancel ID...``
        and ``ah_cancel_name NAME [SITE]``: non-zero if it could not be done.
        """

    def part_name(self, submission: Submission, part: int) -> str:
        """What ``ah_find`` is given: the name of one part and, after a space, the site (cluster) if it has one."""
        return submission.name

    @abc.abstractmethod
    def status_command(self, ids: Sequence[str]) -> str:
        """Shell text that prints what the queue knows of ``ids`` and, last, a line ``#rc <exit code>``."""

    @abc.abstractmethod
    def parse_status(self, text: str, ids: Sequence[str]) -> dict[str, QueueView]:
        """The ids that the queue still has. An id that is left out is not in the queue.

        :raises airflow_hybrid.errors.StatusUnknownError: the question was not answered.
        """

    @abc.abstractmethod
    def account_command(self, ids: Sequence[str]) -> str:
        """Shell text that asks everything that may know how ``ids`` ended."""

    @abc.abstractmethod
    def parse_account(self, text: str, ids: Sequence[str]) -> Account:
        """Never raises: what was not answered leaves the account incomplete."""

    @abc.abstractmethod
    def element_id(self, ids: Sequence[str], jobs: int, index: int, max_array: int) -> str | None:
        """The element that was to run job ``index`` if no other took it."""

    def claimed_id(self, claim: str, ids: Sequence[str]) -> str:
        """The element's id from what its runner wrote as its name when it took a job."""
        return claim

    def array_id(self, element: str) -> str:
        """The submitted id that an element's id belongs to."""
        return element

    def limits_command(self) -> str:
        """Shell text that asks for what :attr:`limits` is about; ``""``: that cannot be asked."""
        return self.limits

    def parse_max_array(self, text: str) -> int | None:
        """Most elements of one array, from the answer to :attr:`limits`; None if it does not say."""
        return None

    def too_large(self, said: str) -> bool:
        """Whether it was the array's size that was refused."""
        return False

    def restarts(self, submission: Submission) -> bool:
        """Whether the scheduler may start an element a second time."""
        return False

    def refused_for_good(self, said: str) -> bool:
        """Whether the scheduler's refusal would be the same next time."""
        return False

    hosts_command: str = ""
    """shell text that prints, in a job, the names of its nodes, its own first; ``""``: it cannot have several"""
    on_host: bool = False
    """jobs are processes of the host that is asked: what it has is what they get"""

    def capacity_command(self, submission: Submission) -> str:
        """Shell text that asks what there is for such a batch, or ``""`` where that cannot be asked."""
        return ""

    def parse_capacity(self, text: str) -> Capacity:
        """The answer to :meth:`capacity_command`; what it does not say is unknown."""
        return Capacity()

    def wait_command(self, submission: Submission) -> str:
        """Shell text that asks when such a batch would start, and submits nothing; ``""``: that cannot be asked."""
        return ""

    def parse_wait(self, text: str) -> tuple[float | None, str]:
        """The answer to :meth:`wait_command`: seconds (None: not known) and, without them, the site's words."""
        return wait(text)

    def explain(self, reason: str) -> str:
        """A pending reason with what it means to the user, or ``""`` for one that ends by itself."""
        return ""

    def hopeless(self, reason: str) -> bool:
        """Whether a pending reason means that the job can never run as it is, so that nobody need wait."""
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
        cores=whole(submission.resources.cores),
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


def whole(number: float) -> int:
    """A fraction of a core is a core to a scheduler."""
    return max(1, -(-int(number * 1000) // 1000))
