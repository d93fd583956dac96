# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether a failed job is run again by the task's next try.

In this order:

1. What is nobody's fault (the node died, the job was preempted or lost) is run again: the task has some tries for that.
2. A job that somebody else ended, or that failed for a fault of the site, is run again if somebody gave ``retries``.
3. So is any other, unless its exit code is listed in the binding's ``retry: {not: ...}``; or not in its ``codes``,
   but in the document's ``permanentFailCodes``; or, where ``codes`` are given, neither there nor in the document's
   ``temporaryFailCodes``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from airflow_hybrid.config import bind
from airflow_hybrid.engine.spec import FragmentSpec
from airflow_hybrid.model import JobResult, JobState, RetryCodes
from airflow_hybrid.model.failure_rules import CODE_OF

NOBODYS_FAULT = frozenset({JobState.NODE_FAIL, JobState.PREEMPTED, JobState.LOST})
BY_OTHERS = frozenset({JobState.CANCELLED, JobState.DISK_FULL})
"""states that say nothing about the tool, whatever its exit code"""


@dataclass(frozen=True)
class Decision:
    """:ivar again: whether the job may be run again; ``reason``: why never, in words, if that is its exit code."""

    again: bool
    reason: str = ""


@dataclass(frozen=True)
class StepRetries:
    """How failed jobs of a step are run again.

    :ivar most: how often, as somebody asked.
    :ivar tries: the number of the try that ran them, since the task was cleared.
    :ivar listed: exit codes of the step's binding.
    """

    most: int = 0
    tries: int = 1
    listed: RetryCodes = field(default_factory=RetryCodes)

    def decide(self, result: JobResult, declared: str | None, site_fault: str = "") -> Decision:
        """Whether a failed job may be run again.

        :param declared: what the document declares about its exit code (``temporaryFail``, ``permanentFail``).
        :param site_fault: what is wrong with the site, in words.
        """
        if result.state in NOBODYS_FAULT:
            return Decision(True)
        asked = self.tries <= self.most
        if site_fault or result.state in BY_OTHERS:
            return Decision(asked)
        reason = self._never(result, declared)
        # where nobody asked for retries, no reason is needed
        return Decision(asked and not reason, reason if self.most else "")

    def _never(self, result: JobResult, declared: str | None) -> str:
        """Why a job is not run again however many retries there are; empty: it is."""
        code = CODE_OF.get(result.state.value) if result.exit_code is None else result.exit_code
        if code is None:  # it never got as far as its tool
            return ""
        if code in self.listed.never:
            return f"exit code {code} is in `retry: not` of its binding"
        if code in self.listed.codes:
            return ""
        if declared == "permanentFail":
            return f"exit code {code} is in `permanentFailCodes` of its document"
        if self.listed.codes and declared != "temporaryFail":
            return f"exit code {code} is not in `retry: codes` of its binding"
        return ""


def retries_of(spec: FragmentSpec, step_path: str, attempt: int | None = None) -> StepRetries:
    """How failed jobs of a step are run again.

    :param attempt: the try that ran them; None: the spec's own.
    """
    binding = bind(spec.bindings, step_path)
    most = spec.retries if binding.retries is None else binding.retries
    ran = spec.identity if attempt is None else replace(spec.identity, try_number=attempt)
    return StepRetries(most, ran.tries, binding.retry or RetryCodes())


def most_retries(spec: FragmentSpec) -> int:
    """How often somebody asked that the task be tried again: the most among its steps."""
    return max(retries_of(spec, path).most for path in (spec.step_path, *spec.leaves))
