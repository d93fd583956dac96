# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""ExpressionTools that become part of the task that reads them, without being asked to: where nothing is lost by it.

An expression runs no job and needs no site; a task of its own costs Airflow more than the expression itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from airflow_hybrid.config import Bindings, bind
from airflow_hybrid.model import Binding, Step, WorkflowGraph


def with_expressions(
    graph: WorkflowGraph, found: Sequence[Sequence[str]], movable: Mapping[str, Hashable], hosts: Mapping[str, Hashable]
) -> tuple[list[list[str]], dict[str, list[str]]]:
    """Let expressions share the task of the steps that read them.

    An expression goes along if a single task reads its outputs, and if no output of the workflow is one of them. So
    that task waits for nothing more than before, and no path leads out of it and back into it.

    :param found: groups of steps that share a task, in the order of the graph's steps.
    :param movable: expressions that may share a task; with what a task must have in common with them, see `hosts`.
    :param hosts: steps that may take expressions in, or that are in a group; with what is to be the same.
    :return: the groups of ``found`` with their expressions; other steps of ``hosts`` with theirs, by the step's path.
    """
    task_of = {path: paths[0] for paths in found for path in paths}
    shared = set(task_of.values())
    published = {source.step for output in graph.outputs for source in output.sources}
    readers: dict[str | None, set[str]] = {}
    for step in reversed(graph.steps):
        path = step.path
        if path not in task_of:
            tasks = readers.get(path, set())
            task_of[path] = path
            if len(tasks) == 1 and path in movable and path not in published:
                (reader,) = tasks
                if reader in hosts and hosts[reader] == movable[path]:
                    task_of[path] = reader
        for source in {source.step for port in step.inputs for source in port.sources}:
            readers.setdefault(source, set()).add(task_of[path])
    members: dict[str, list[str]] = {}
    for step in graph.steps:
        members.setdefault(task_of[step.path], []).append(step.path)
    alone = {task: paths for task, paths in members.items() if task not in shared and len(paths) > 1}
    return [members[paths[0]] for paths in found], alone


def may_move(step: Step, bindings: Sequence[Binding]) -> bool:
    """Whether an expression loses nothing in the task of another step.

    Not with a ``when``, whose skip is a state of its task. Not with a binding of its own, which may say more about its
    task (retries). Not if it may have another value when it is evaluated again: its task keeps the value.
    """
    if step.kind != "expression" or step.when or step.loop or step.scatter or step.varies:
        return False
    known = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    return step.path not in known.by_path


def may_host(step: Step, bindings: Sequence[Binding], in_chunk: bool) -> bool:
    """Whether the task of a step may take in expressions: not if it is skipped by a ``when``, nor if Airflow maps it.

    :param in_chunk: it is in a scattered sub-workflow, whose tasks are mapped together with it.
    """
    if step.workflow is not None or step.when or step.loop:
        return False
    return not step.scatter or in_chunk or bind(bindings, step.path).scatter == "batch"
