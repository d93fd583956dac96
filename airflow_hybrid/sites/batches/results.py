# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From evidence to results: how each job of a batch ended. Pure.

The exit-code file decides, unless the runner was signalled while the job ran: then the scheduler's word takes
precedence, and without it an exit code of 0 is not a success. If there is no exit code, the scheduler's word decides;
if the scheduler does not know either, the job is LOST.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.schedulers.base import Account, ElementState, Scheduler
from airflow_hybrid.schedulers.usage import Usage
from airflow_hybrid.sites.batches.directory import Ending, Evidence
from airflow_hybrid.sites.batches.submitted import SubmittedBatch

_SIGNALS = frozenset({128 + 9, 128 + 15})
"""exit codes of a tool that was killed; the scheduler may know why"""
_TIMED_OUT = frozenset({124, 128 + 9, 128 + 15})
"""timeout(1): the time was up; the tool had to be killed. busybox's exits with the signal that it sent"""
_NO_NAME = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.LOST})
_UNKNOWN = ElementState(JobState.UNKNOWN)
MEASURED_FROM_S = 2.0
"""how long a job ran, at least, for which the accounting is asked: it samples, and the question takes time"""


def doubtful(ending: Ending) -> bool:
    """Whether the scheduler may have ended the job: then it is asked before the exit code counts."""
    return ending.exit_code in _SIGNALS or bool(ending.signal)


@dataclass(frozen=True)
class Judgement:
    """How a job ended.

    :ivar exit_code: if it decides; None: the job was ended from outside, whatever its tool's exit code.
    """

    state: JobState
    exit_code: int | None
    reason: str


@dataclass(frozen=True)
class Case:
    """Everything that is known about a batch when its jobs are judged.

    :ivar elements: what the scheduler says about jobs, by index, if its word is needed.
    """

    scheduler: Scheduler
    batch: SubmittedBatch
    evidence: Evidence
    account: Account
    elements: Mapping[int, ElementState]

    @classmethod
    def of(cls, scheduler: Scheduler, batch: SubmittedBatch, evidence: Evidence, account: Account) -> Case:
        """The case of a batch, with the scheduler's word on jobs about which the directory does not say enough."""
        case = cls(scheduler, batch, evidence, account, {})
        return replace(case, elements={i: case._element_of(i) for i in (*case.unended, *case.doubted)})

    @property
    def unended(self) -> list[int]:
        """Jobs without an exit code."""
        return [index for index in range(self.batch.total) if index not in self.evidence.endings]

    @property
    def doubted(self) -> list[int]:
        """Jobs whose exit code the scheduler may overrule."""
        return [index for index, ending in self.evidence.endings.items() if doubtful(ending)]

    def results(self) -> list[JobResult]:
        """One result per key, without the tails of stderr."""
        jobs_of_element = Counter(self.evidence.claims.values())
        return [
            self._result(index, alone=jobs_of_element[self.evidence.claims.get(index, "")] == 1)
            for index in range(self.batch.total)
        ]

    def _result(self, index: int, *, alone: bool) -> JobResult:
        judgement = self.judgement(index)
        ending = self.evidence.endings.get(index)
        return JobResult(
            judgement.state,
            judgement.exit_code,
            judgement.reason,
            scheduler_id=self._scheduler_id(index),
            stdout_path=self.batch.stdout_path(index),
            stderr_path=self.batch.stderr_path(index),
            seconds=ending.seconds if ending else None,
            node=ending.node if ending else self.elements.get(index, _UNKNOWN).node,
            submitted=self.evidence.submitted,
            began=ending.began if ending else None,
            cpu_s=ending.cpu_s if ending else None,
            memory_used_mib=ending.memory_used_mib if ending else None,
            alone=alone,
            memory_asked_mib=None if self.batch.meta.memory_mib is None else int(self.batch.meta.memory_mib),
        )

    def _scheduler_id(self, index: int) -> str | None:
        """The element that took a job, or was meant to run it."""
        claim = self.evidence.claims.get(index)
        if claim and claim != "launcher":
            return self.scheduler.claimed_id(claim, self.batch.ids)
        return self.scheduler.element_id(self.batch.ids, self.batch.total, index, self.batch.meta.max_array)

    def _element_of(self, index: int) -> ElementState:
        """What the scheduler says about the element of a job, or else about the whole array."""
        element = self._scheduler_id(index) or ""
        reported = self.account.elements.get(element) or self.account.elements.get(self.scheduler.array_id(element))
        return reported or _UNKNOWN

    def judgement(self, index: int) -> Judgement:
        """How the job with this index ended."""
        ending = self.evidence.endings.get(index)
        if ending is None:
            return self._without_exit_code(index)
        if ending.exit_code is None:
            state = JobState.DISK_FULL if ending.disk_full else JobState.FAILED
            return Judgement(state, None, ending.reason)
        return self._with_exit_code(index, ending, ending.exit_code)

    def _with_exit_code(self, index: int, ending: Ending, code: int) -> Judgement:
        limit = self.batch.meta.job(index).walltime_s
        if limit and code in _TIMED_OUT and (ending.seconds or 0) >= limit:
            return Judgement(JobState.TIMEOUT, code, f"it ran longer than its time limit of {limit} s")
        element = self.elements.get(index, _UNKNOWN)
        if doubtful(ending) and element.state.ended and element.state not in _NO_NAME:
            return Judgement(element.state, None, f"{element.reason}; its exit code was {code}")
        if self._ran_out_of_memory(ending, code):
            return Judgement(JobState.OUT_OF_MEMORY, None, self._memory_reason(ending, code))
        if ending.disk_full and code:
            return Judgement(JobState.DISK_FULL, None, f"the file system was full when it ended with exit code {code}")
        if ending.signal and element.state is not JobState.COMPLETED:
            return self._signalled(ending, element, code)
        if code == 0:
            return Judgement(JobState.COMPLETED, 0, "")
        return Judgement(JobState.FAILED, code, f"exit code {code}{self._killed_hint(code)}")

    def _signalled(self, ending: Ending, element: ElementState, code: int) -> Judgement:
        """Its runner was signalled, and the scheduler does not report success."""
        if element.state is JobState.FAILED and code:
            return Judgement(JobState.FAILED, code, f"exit code {code}")
        what_happened = f"its runner got SIG{ending.signal} while it was running, and its exit code was {code}"
        if self.evidence.cancelled:
            return Judgement(JobState.CANCELLED, None, "the task was cancelled")
        if element.state is JobState.FAILED:
            return Judgement(JobState.FAILED, None, f"{what_happened}; {self.scheduler.name}: {element.reason}")
        return Judgement(JobState.CANCELLED, None, f"{what_happened}; it is unknown who ended it")

    def _without_exit_code(self, index: int) -> Judgement:
        if not self.evidence.present:
            return Judgement(JobState.LOST, None, "its batch directory no longer exists")
        element = self.elements.get(index, _UNKNOWN)
        if element.state not in (*_NO_NAME, JobState.UNKNOWN):
            return Judgement(element.state, None, element.reason)
        if self.evidence.disk_full:
            begun = "it left no exit code" if index in self.evidence.claims else "it could not be started"
            return Judgement(JobState.DISK_FULL, None, f"the file system was full, and {begun}")
        if element.state is JobState.FAILED:
            return Judgement(element.state, None, element.reason)
        if self.evidence.cancelled:
            return Judgement(JobState.CANCELLED, None, "the task was cancelled")
        reason = "it left no exit code, and it is unknown how it ended"
        reason += f"; {self.scheduler.name}: {element.reason}" if element.reason else ""
        reason += f"; no answer: {self.account.problem}" if self.account.problem else ""
        return Judgement(JobState.LOST, None, reason)

    def _ran_out_of_memory(self, ending: Ending, code: int) -> bool:
        """Whether the kernel killed a process of this job.

        On a plain host the kills of all jobs of a batch are counted together: if one of the jobs that noticed kills
        failed, they were its own.
        """
        if not ending.memory_kills:
            return False
        if code or not self.scheduler.on_host:
            return True
        return not any(other.memory_kills and other.exit_code for other in self.evidence.endings.values())

    def _memory_reason(self, ending: Ending, code: int) -> str:
        kills = ending.memory_kills
        processes = "a process" if kills == 1 else f"{kills} processes"
        return (
            f"the kernel killed {processes} of it for lack of memory; its exit code was {code}; {self._more_memory()}"
        )

    def _killed_hint(self, code: int) -> str:
        if code != 128 + 9 or not self.batch.meta.memory_mib:
            return ""
        return f" (killed by SIGKILL, perhaps for lack of memory; {self._more_memory()})"

    def _more_memory(self) -> str:
        requested_mib = self.batch.meta.memory_mib
        if not requested_mib:
            return "ask for more memory (ResourceRequirement, ramMin)"
        return f"ask for more than {requested_mib} MiB (ResourceRequirement, ramMin)"


def unmeasured(results: Sequence[JobResult]) -> list[str]:
    """Ids of the elements whose usage is that of a job of which something is unknown."""
    return [
        result.scheduler_id for result in results if result.alone and result.scheduler_id and _is_worth_asking(result)
    ]


def _is_worth_asking(result: JobResult) -> bool:
    return None in (result.memory_used_mib, result.cpu_s) and (result.seconds or 0) >= MEASURED_FROM_S


def without_usage(results: Sequence[JobResult]) -> list[JobResult]:
    """The results, without what their runners saw: of an MPI job that may be the launcher alone.

    What srun starts are no children of the runner, and on a plain host it knows the memory of one process only.
    """
    return [replace(result, memory_used_mib=None, cpu_s=None) for result in results]


def with_usage(result: JobResult, usage: Usage | None, *, is_mpi: bool = False) -> JobResult:
    """The result, with what its runner could not tell and the accounting says about its element.

    :param is_mpi: the parts of the element ran at the same time.
    """
    if usage is None or not result.alone:
        return result
    memory_mib = usage.parts_mib if is_mpi else usage.memory_mib
    return replace(
        result,
        memory_used_mib=memory_mib if result.memory_used_mib is None else result.memory_used_mib,
        cpu_s=usage.cpu_s if result.cpu_s is None else result.cpu_s,
    )
