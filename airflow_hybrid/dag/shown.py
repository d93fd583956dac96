# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people see of a step's task: where it runs, which jobs it holds, what it is."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from airflow_hybrid.amounts import counted
from airflow_hybrid.config import bind
from airflow_hybrid.model import CHAINS, AskedResources, Binding, Step
from airflow_hybrid.model.outline import StepOutline

_COLOURS = ("#d9e8f6", "#fde7cf", "#dcefdc", "#f6dbe3", "#e6e0f3", "#fbf3c4", "#d3eeee", "#ece2d8")
"""light, so that black text can be read on them"""
_MOST_PLACES = 3

JOBS_TEMPLATE = "{{ task.jobs_held }}"
"""name of a mapped task instance; see :attr:`airflow_hybrid.operators.hybrid.HybridOperator.jobs_held`"""


def where_it_runs(bound: Iterable[tuple[str, str | None]]) -> str:
    """The deployments and services of a step's binding: ``cluster/gpu``; of several, the first three.

    :param bound: pairs of deployment and service.
    """
    places = sorted(f"{deployment}/{service}" if service else deployment for deployment, service in bound)
    shown = ", ".join(places[:_MOST_PLACES])
    return f"{shown} ..." if len(places) > _MOST_PLACES else shown


def colour_of(bound: Iterable[tuple[str, str | None]]) -> str:
    """The colour of a step's task: the same for all steps that are bound to the same deployments."""
    deployments = ",".join(sorted({deployment for deployment, _ in bound}))
    return _COLOURS[zlib.crc32(deployments.encode()) % len(_COLOURS)]


def step_doc(step: Step, where: str, bindings: tuple[Binding, ...] = ()) -> str:
    """Markdown for a step's task: what the document says of the step and its tool, and what its jobs need and where.

    :param where: as :func:`where_it_runs` says it.
    :param bindings: which may say what its jobs ask for.
    """
    if step.is_group and step.workflow is not None:
        docs = {member.path: step_doc(member, where, bindings) for member in step.workflow.steps}
        return _group_doc(step.path, docs)
    texts = [f"**{step.label}**" if step.label else "", step.doc]
    if step.tool_doc != step.doc:
        texts.append(step.tool_doc)
    facts = [f"step `{step.path}`", f"runs on `{where}`", *step.needs]
    if step.workflow is None and (asked := bind(bindings, step.path).resources) is not None:
        facts.append(f"its binding asks for {_asked_in_words(asked)} in place of that")
    if step.scatter:
        facts.append(f"a job for each of `{'`, `'.join(step.scatter)}`")
    texts.append("\n".join(f"* {fact}" for fact in facts))
    return "\n\n".join(text for text in texts if text)


_RULE = "\n\n---\n\n"


def _asked_in_words(asked: AskedResources) -> str:
    """``2 cores, 512 MiB of memory, 60 s``."""
    words = []
    if asked.cores is not None:
        words.append(counted(asked.cores, "core"))
    if asked.ram_mib is not None:
        words.append(f"{asked.ram_mib} MiB of memory")
    if asked.walltime_s is not None:
        words.append(f"at most {asked.walltime_s} s")
    return ", ".join(words)


def _group_doc(path: str, docs: dict[str, str]) -> str:
    """:param path: of the task: a path of its own, or that of the step that has taken in expressions.
    :param docs: of the steps in it, by path.
    """
    own = docs.pop(path, None)
    names = ", ".join(f"`{name}`" for name in docs)
    if own is None:
        return _RULE.join(
            [f"{counted(len(docs), 'step')} in one task, because of `fuse: {CHAINS}`: {names}", *docs.values()]
        )
    return _RULE.join([own, f"The same task evaluates {names}, which only this step reads.", *docs.values()])


def outlines_of_task(step: Step, task_id: str, plan_id: str, bindings: tuple[Binding, ...]) -> Iterator[StepOutline]:
    """The steps that a task runs, outermost first: one; or several that are fused, or a whole sub-workflow.

    :param plan_id: of the task that plans for it, or empty.
    """
    members = [step] if step.workflow is None else step.workflow.walk()
    if step.workflow is not None and not step.is_group:
        members = [step, *members]
    for member in members:
        own_plan = plan_id if member is step else ""
        yield outline_of(member, bindings, task_id, own_plan, shares_task=len(members) > 1)


def outline_of(
    step: Step, bindings: tuple[Binding, ...], task_id: str = "", plan_id: str = "", *, shares_task: bool = False
) -> StepOutline:
    """A step as pages show it."""
    return StepOutline(
        path=step.path,
        kind="workflow" if step.workflow is not None else step.kind,
        task_id=task_id,
        plan_id=plan_id,
        shares_task=shares_task,
        scatter=step.scatter,
        loop=step.loop,
        conditional=step.when,
        label=step.label,
        targets=() if step.workflow is not None else tuple(bind(bindings, step.path).targets),
        needs=step.needs,
        asked=None if step.workflow is not None else bind(bindings, step.path).resources,
    )
