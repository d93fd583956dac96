# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Failed jobs that a rule of their binding is about: they are submitted again in the same try, with what it changes.

What a job asks for after some failures is a function of these failures and of the rules. So another process, or a later
try, that finds the batches of the earlier attempts in the task directory comes to the same answer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.amounts import times
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.step_run import JobProgress
from airflow_hybrid.model import AskedResources, FailureRule, JobResult, JobState, Resources
from airflow_hybrid.model.failure_rules import rule_for
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
        return Refusal(f"`{rule.name}` has submitted it again {times(rule.at_most)}, its `at_most`")
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
    needs = before.with_asked(asked.values)
    grows = rule.memory is not None or rule.walltime is not None
    if grows and needs == before and not rule.exclude_node:
        return Refusal(f"`{rule.name}` gives it no more than it had")
    if needs != before and _has_no_effect(before, needs, result, place):
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


def _has_no_effect(before: Resources, needs: Resources, result: JobResult, place: Place) -> bool:
    """Whether the scheduler would get the same request as before."""
    if result.state is JobState.TIMEOUT and result.exit_code is not None:
        return False  # it was ended by its runner, which keeps the document's limit
    options = place.options
    first, second = (submission_for(options, "/", each) for each in (before, needs))
    return place.queue.scheduler.asks_alike(first, second)


def _amount(amount: int | None, unit: str) -> str:
    return "as the queue gives" if amount is None else f"{amount:,} {unit}"
