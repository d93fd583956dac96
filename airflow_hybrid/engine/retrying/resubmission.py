# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Failed jobs that a rule of their binding is about: they are submitted again in the same try, with what it changes.

What a job asks for after some failures is a function of these failures and of the rules. So another process, or a later
try, that finds the batches of the earlier attempts in the task directory comes to the same answer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.amounts import counted
from airflow_hybrid.config import bind
from airflow_hybrid.engine.common import in_cwl_thread
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.reporting.recording import Recorder
from airflow_hybrid.engine.step_run import JobProgress, StepRun, title
from airflow_hybrid.model import AskedResources, FailureRule, JobResult, JobState, LineageEntry, Resources
from airflow_hybrid.model.failure_rules import rule_for
from airflow_hybrid.model.files import RESUBMITTED
from airflow_hybrid.sites.batches.look import submission_for

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
MOST_NODES = 20
"""that a job does not run on: more say that the fault is not theirs"""


@dataclass(frozen=True)
class Change:
    """What a rule changes about a job.

    :ivar words: for people: ``memory 1,024 -> 2,048 MiB``; ``the same request``.
    """

    rule: FailureRule
    asked: AskedResources
    excluded: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Refusal:
    """Why a rule does not submit a job again, in words."""

    words: str


class Resubmissions:
    """The rules of a fragment's bindings.

    :param recorder: gets a record of each attempt that a rule repeats; ``lineage``: an entry with what is changed.
    """

    def __init__(self, context: FragmentContext, recorder: Recorder, lineage: list[LineageEntry]) -> None:
        self._context = context
        self._recorder = recorder
        self._lineage = lineage

    async def decide(self, run: StepRun, jobs: Sequence[JobProgress], resubmission: int | None) -> None:
        """Let the jobs wait again, changed, that a rule is about.

        :param jobs: of one step, which ended in one batch.
        :param resubmission: how often the try that is going on had submitted them before; None: an earlier try's batch.
        """
        rules = bind(self._context.spec.bindings, jobs[0].job.step_path).on if jobs else ()
        failed = [job for job in jobs if job.result is not None and not job.succeeded]
        if not rules or not failed:
            return

        def decide() -> list[Change | Refusal | None]:
            return [change(job, rules, run.place) for job in failed]

        changes: dict[tuple[str, str], list[JobProgress]] = {}
        decided = list(zip(failed, await in_cwl_thread(decide), strict=True))
        for job, found in decided:
            if isinstance(found, Refusal):
                job.rule_note = found.words
            elif found is not None:
                job.rule_note = f"run again by `{found.rule.name}`: {found.words}"
                changes.setdefault((found.rule.name, found.words), []).append(job)
        self._recorder.ended(run, [job for some in changes.values() for job in some], {})
        for (name, words), some in changes.items():
            self._tell(run, name, words, some)
        for job, found in decided:
            if isinstance(found, Change):
                _apply(found, job, 0 if resubmission is None else resubmission + 1)

    def _tell(self, run: StepRun, rule: str, words: str, jobs: Sequence[JobProgress]) -> None:
        """What is changed, in log and lineage."""
        first = jobs[0]
        what = first.job.label if len(jobs) == 1 else f"{counted(len(jobs), 'job')} of {title(jobs)}"
        state = "" if first.result is None else first.result.state.value
        self._context.log.info("%s at %s: %s, run again by `%s`: %s", what, run.place.title, state, rule, words)
        where = run.place.uri(run.place.task_directory(self._context.spec.identity))
        self._lineage.append(LineageEntry(what, where, RESUBMITTED, 0, 0.0, note=f"{state}: {rule}: {words}"))


def _apply(found: Change, job: JobProgress, resubmitted: int) -> None:
    job.causes.append(found.rule.name)
    job.job.asked_again, job.excluded = found.asked, found.excluded
    job.resubmitted = resubmitted
    job.result, job.rule_note = None, ""


def change(progress: JobProgress, rules: Sequence[FailureRule], place: Place) -> Change | Refusal | None:
    """What is changed about a job that failed, before it is submitted again.

    :param rules: of its step; ``place``: where it ran.
    :return: None: no rule is about it.
    """
    result = progress.result
    if result is None or progress.succeeded:
        return None
    rule = rule_for(rules, result.state.value, result.exit_code)
    if rule is None:
        return None
    if progress.causes.count(rule.name) >= rule.at_most:
        return Refusal(f"`{rule.name}` has submitted it again {_times(rule.at_most)}, its `at_most`")
    return _changed(progress, result, rule, place)


def _changed(progress: JobProgress, result: JobResult, rule: FailureRule, place: Place) -> Change | Refusal:
    before = progress.job.resources
    memory_mib = before.ram_mib if "ram_mib" in before.explicit else None
    asked, words = progress.job.asked_again, []
    if rule.memory is not None:
        more_mib = rule.memory.after(memory_mib)
        if more_mib is None:
            return Refusal(f"`{rule.name}` cannot multiply its memory: it asks for none (`ramMin`)")
        asked = dataclasses.replace(asked, ram_mib=more_mib)
        words.append(f"memory {_amount(memory_mib, 'MiB')} -> {_amount(more_mib, 'MiB')}")
    if rule.walltime is not None:
        longer_s = rule.walltime.after(before.walltime_s)
        if longer_s is None:
            return Refusal(f"`{rule.name}` cannot multiply its time limit: it has none (`timelimit`)")
        asked = dataclasses.replace(asked, walltime_s=longer_s)
        words.append(f"time limit {_amount(before.walltime_s, 's')} -> {_amount(longer_s, 's')}")
    if asked != progress.job.asked_again and _has_no_effect(before, asked, result, place):
        return Refusal(f"`{rule.name}` has no effect: options or a template of its deployment set what it would change")
    excluded = progress.excluded
    if rule.exclude_node and (problem := _why_not_excluded(progress, result, place)):
        words.append(problem)
    elif rule.exclude_node:
        excluded = tuple(dict.fromkeys((*excluded, result.node)))
        words.append(f"not on {', '.join(excluded)}")
    return Change(rule, asked, excluded, ", ".join(words) or "the same request")


def _why_not_excluded(progress: JobProgress, result: JobResult, place: Place) -> str:
    """Why the job may run on the same node again; empty: it does not."""
    if not place.queue.scheduler.excludes_nodes:
        return f"on any node ({place.queue.scheduler.name} cannot leave out nodes)"
    if not _NODE.fullmatch(result.node):
        return "on any node (it is not known on which one it failed)"
    if len(progress.excluded) >= MOST_NODES:
        return f"on any node but the first {MOST_NODES} on which it failed"
    return ""


def _has_no_effect(before: Resources, asked: AskedResources, result: JobResult, place: Place) -> bool:
    """Whether the scheduler would get the same request as before."""
    if result.state is JobState.TIMEOUT and result.exit_code is not None:
        return False  # it was ended by its runner, which keeps the document's limit
    options = place.options
    first, second = (submission_for(options, "/", needs) for needs in (before, before.with_asked(asked.values)))
    return place.queue.scheduler.asks_alike(first, second)


def options_without(nodes: Sequence[str], place: Place) -> Mapping[str, Any]:
    """The native options of a place for jobs that are not to run on some nodes."""
    if not nodes:
        return place.options
    return place.queue.scheduler.without_nodes(place.options, nodes)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _amount(amount: int | None, unit: str) -> str:
    return "as the queue gives" if amount is None else f"{amount:,} {unit}"
