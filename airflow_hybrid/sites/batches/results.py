# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From evidence to results: how each job of a batch ended. Pure.

The exit-code file decides, unless the runner was signalled while the job ran: then the scheduler's word comes first,
and an exit code of 0 without it is no success. Where there is no exit code, the scheduler's word decides; where nobody
knows, the job is LOST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.schedulers.base import Account, ElementState, Scheduler
from airflow_hybrid.sites.batches.directory import Ending, Evidence, stream_path

_SIGNALS = frozenset({128 + 9, 128 + 15})
"""exit codes of a tool that was killed: by whom, the scheduler may know"""
_TIMED_OUT = frozenset({124, 128 + 9, 128 + 15})
"""timeout(1): the time was up; the tool had to be killed; that of busybox says so by the signal that it sent"""
_NO_NAME = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.LOST})
ALIVE = frozenset({JobState.PENDING, JobState.RUNNING})
WORD_S = 5.0
"""how long the scheduler's word on an exit code is waited for that a signal made, where no runner was signalled"""


def scheduler_id(
    scheduler: Scheduler, evidence: Evidence, ids: Sequence[str], index: int, meta: Mapping[str, Any]
) -> str | None:
    """The element that has, or was to have, a job."""
    claim = evidence.claims.get(index)
    if claim and claim != "launcher":
        return scheduler.claimed_id(claim, ids)
    return scheduler.element_id(ids, len(meta["keys"]), index, meta["max_array"])


def element_of(
    scheduler: Scheduler, account: Account, evidence: Evidence, ids: Sequence[str], index: int, meta: Mapping[str, Any]
) -> ElementState:
    """What the scheduler says of the element of a job, or else of the whole array."""
    id_ = scheduler_id(scheduler, evidence, ids, index, meta) or ""
    whole = scheduler.array_id(id_)
    return account.elements.get(id_) or account.elements.get(whole) or ElementState(JobState.UNKNOWN)


def doubtful(ending: Ending) -> bool:
    """Whether the scheduler may have ended the job: then its word is asked before the exit code counts."""
    return ending.exit_code in _SIGNALS or bool(ending.signal)


def leaves_nothing(element: ElementState, evidence: Evidence, index: int) -> bool:
    """Whether the site itself says that the job ended without success: then no exit code need be waited for.

    An element whose script ended by itself, with an exit code, is that of a job that failed: what its runner wrote of
    the jobs that it had claimed is on its way.
    """
    if evidence.disk_full and element.state.ended:
        return True
    if element.exited and index in evidence.claims:
        return False
    return element.state.ended and element.state is not JobState.COMPLETED


def settled(
    scheduler: Scheduler, evidence: Evidence, elements: Mapping[int, ElementState], waited_s: float, patience_s: float
) -> bool:
    """Whether the scheduler has had its word on every exit code that is doubtful.

    :param waited_s: since the batch ended; ``patience_s``: how long the accounting may lag behind.
    """
    for index, ending in evidence.endings.items():
        if not doubtful(ending) or elements[index].state.ended or scheduler.on_host:
            continue
        if ending.signal and elements[index].state in ALIVE:
            return False
        if waited_s <= (patience_s if ending.signal else WORD_S):
            return False
    return True


def results_of(
    scheduler: Scheduler,
    directory: str,
    ids: Sequence[str],
    meta: Mapping[str, Any],
    evidence: Evidence,
    account: Account,
    elements: Mapping[int, ElementState],
) -> list[JobResult]:
    """One result per key, without the tails of stderr."""
    verdicts = Verdicts(scheduler, meta, evidence, account, elements)
    results = []
    for index, key in enumerate(meta["keys"]):
        verdict = verdicts.of(index)
        ending = evidence.endings.get(index)
        results.append(
            JobResult(
                verdict.state,
                verdict.exit_code,
                verdict.reason,
                scheduler_id=scheduler_id(scheduler, evidence, ids, index, meta),
                stdout_path=stream_path(directory, key, "stdout", meta),
                stderr_path=stream_path(directory, key, "stderr", meta),
                seconds=ending.seconds if ending else None,
                node=ending.node if ending else "",
            )
        )
    return results


@dataclass(frozen=True)
class Verdict:
    """How a job ended.

    :ivar exit_code: where it decides; None where the job was ended from outside, whatever its tool said to that.
    """

    state: JobState
    exit_code: int | None
    reason: str


@dataclass(frozen=True)
class Verdicts:
    """What decides on the jobs of a batch: see the module."""

    scheduler: Scheduler
    meta: Mapping[str, Any]
    evidence: Evidence
    account: Account
    elements: Mapping[int, ElementState]

    def of(self, index: int) -> Verdict:
        """How the job with this index ended."""
        ending = self.evidence.endings.get(index)
        if ending is None:
            return self._without_exit_code(index)
        if ending.exit_code is None:
            state = JobState.DISK_FULL if ending.disk_full else JobState.FAILED
            return Verdict(state, None, ending.reason)
        return self._with_exit_code(index, ending, ending.exit_code)

    def _with_exit_code(self, index: int, ending: Ending, code: int) -> Verdict:
        limit = self._described(index).get("w")
        if limit and code in _TIMED_OUT and (ending.seconds or 0) >= limit:
            return Verdict(JobState.TIMEOUT, code, f"it ran longer than its time limit of {limit} s")
        element = self.elements.get(index, ElementState(JobState.UNKNOWN))
        if doubtful(ending) and element.state.ended and element.state not in _NO_NAME:
            return Verdict(element.state, None, f"{element.reason}; its exit code was {code}")
        if self._ran_out_of_memory(ending, code):
            return Verdict(JobState.OUT_OF_MEMORY, None, self._memory_reason(ending, code))
        if ending.disk_full and code:
            return Verdict(JobState.DISK_FULL, None, f"the file system was full when it ended with exit code {code}")
        if ending.signal and element.state is not JobState.COMPLETED:
            return self._signalled(ending, element, code)
        if code == 0:
            return Verdict(JobState.COMPLETED, 0, "")
        return Verdict(JobState.FAILED, code, f"exit code {code}{self._killed_hint(code)}")

    def _signalled(self, ending: Ending, element: ElementState, code: int) -> Verdict:
        """Its runner was signalled, and the scheduler does not say that it ended well."""
        if element.state is JobState.FAILED and code:
            return Verdict(JobState.FAILED, code, f"exit code {code}")
        said = f"its runner got SIG{ending.signal} while it ran, and its exit code was {code}"
        if self.evidence.cancelled:
            return Verdict(JobState.CANCELLED, None, "the task was cancelled")
        if element.state is JobState.FAILED:
            return Verdict(JobState.FAILED, None, f"{said}; {self.scheduler.name}: {element.reason}")
        return Verdict(JobState.CANCELLED, None, f"{said}; nobody says who ended it")

    def _without_exit_code(self, index: int) -> Verdict:
        if not self.evidence.present:
            return Verdict(JobState.LOST, None, "its batch directory is no longer there")
        element = self.elements.get(index, ElementState(JobState.UNKNOWN))
        if element.state not in (*_NO_NAME, JobState.UNKNOWN):
            return Verdict(element.state, None, element.reason)
        if self.evidence.disk_full:
            begun = "it left no exit code" if index in self.evidence.claims else "it could not be begun"
            return Verdict(JobState.DISK_FULL, None, f"the file system was full, and {begun}")
        if element.state is JobState.FAILED:
            return Verdict(element.state, None, element.reason)
        if self.evidence.cancelled:
            return Verdict(JobState.CANCELLED, None, "the task was cancelled")
        reason = "it left no exit code and nobody knows how it ended"
        reason += f"; {self.scheduler.name}: {element.reason}" if element.reason else ""
        reason += f"; not answered: {self.account.problem}" if self.account.problem else ""
        return Verdict(JobState.LOST, None, reason)

    def _ran_out_of_memory(self, ending: Ending, code: int) -> bool:
        """Whether the kernel killed a process of this job.

        On a plain host the jobs of a batch are counted together: where one of those that noticed failed, it was that.
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
        if code != 128 + 9 or not self.meta.get("memory_mib"):
            return ""
        return f" (killed by SIGKILL, perhaps for lack of memory; {self._more_memory()})"

    def _more_memory(self) -> str:
        asked = self.meta.get("memory_mib")
        if not asked:
            return "ask for more memory (ResourceRequirement, ramMin)"
        return f"ask for more than {asked} MiB (ResourceRequirement, ramMin)"

    def _described(self, index: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.meta["jobs"].get(self.meta["keys"][index], {})
        return found
