# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Setup and teardown tasks around the steps of a deployment that is made for the DAG run.

A deployment is up before the first step bound to it, and is removed once nothing needs it: after the last step bound to
it, and after all tasks that read files there (steps elsewhere that consume its outputs, and the task that gathers the
workflow's outputs). These follow from the DAG: the *values* of tasks that ran there name the files, and tasks that run
no jobs (plans, expressions) pass such values on.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from airflow.sdk import DAG

from airflow_hybrid.config import Deployment
from airflow_hybrid.config.queues import queue_below
from airflow_hybrid.dag.retries import task_arguments
from airflow_hybrid.dag.rules import trigger_rule_of
from airflow_hybrid.operators.deployments import DeployOperator, UndeployOperator


@dataclass(frozen=True)
class TaskUse:
    """How a task uses deployments.

    :ivar reads: ids of the tasks whose values it reads.
    :ivar bound: the deployments and their services where its jobs may run.
    :ivar hands_on: whether its value may name files that it did not make.
    """

    reads: frozenset[str] = frozenset()
    bound: frozenset[tuple[str, str | None]] = frozenset()
    hands_on: bool = False


def _chain(
    deployments: Mapping[str, Deployment], name: str, service: str | None = None
) -> list[tuple[str, str | None]]:
    """A deployment, the one that it wraps, and so on; each with the service that is used."""
    services: dict[str, str | None] = {}
    while name in deployments and name not in services:
        services[name] = service
        name, service = deployments[name].wraps or "", deployments[name].wraps_service
    return list(services.items())


@dataclass
class _Need:
    """The need for a managed deployment: steps are bound to it, or to one that wraps it.

    :ivar tasks: ids of the tasks whose jobs run there.
    :ivar services: services of it that they use.
    :ivar wrapped: names of the deployments that it wraps, nearest first.
    """

    wrapped: list[str]
    tasks: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Span:
    """When a deployment has to be up.

    :ivar before: ids of the tasks that have ended when its first user starts; ``readers``: of all tasks that need it.
    """

    before: set[str]
    readers: set[str]


@dataclass(frozen=True)
class _Pair:
    deploy: DeployOperator
    undeploy: UndeployOperator


def add_deployment_tasks(
    dag: DAG,
    deployments: Mapping[str, Deployment],
    uses: Mapping[str, TaskUse],
    task_id: Callable[[str], str],
) -> None:
    """Add the setup and teardown tasks of all managed deployments that steps of ``dag`` are bound to.

    :param uses: for each task of the DAG that uses deployments.
    :param task_id: makes an unused task id.
    """
    needs = _needs(deployments, uses)
    if not needs:
        return
    order = _Order(dag)
    # computed in full before the first edge is added
    spans = {
        name: _Span(order.before(need.tasks), order.readers(need.tasks, uses)) for name, need in sorted(needs.items())
    }
    pairs = {name: _pair(dag, name, need, deployments, task_id) for name, need in needs.items()}
    for name, need in needs.items():
        pair, span = pairs[name], spans[name]
        managed_wrapped = [wrapped for wrapped in need.wrapped if wrapped in pairs]
        if managed_wrapped:
            nearest = pairs[managed_wrapped[0]]
            pair.deploy.set_upstream(nearest.deploy)
            pair.undeploy.set_downstream(nearest.undeploy)
        if deployments[name].lazy:
            _connect(dag, span.before, pair.deploy.set_upstream)
        _connect(dag, need.tasks, pair.deploy.set_downstream)
        _connect(dag, span.readers, pair.undeploy.set_upstream)


def _needs(deployments: Mapping[str, Deployment], uses: Mapping[str, TaskUse]) -> dict[str, _Need]:
    """The managed deployments that some task needs, by name."""
    needs: dict[str, _Need] = {}
    for task, use in sorted(uses.items()):
        for bound, service in use.bound:
            for name, service_used in _chain(deployments, bound, service):
                if not deployments[name].managed:
                    continue
                if name not in needs:
                    needs[name] = _Need(wrapped=[wrapped for wrapped, _ in _chain(deployments, name)[1:]])
                needs[name].tasks.add(task)
                if service_used:
                    needs[name].services.add(service_used)
    return needs


def _pair(
    dag: DAG, name: str, need: _Need, deployments: Mapping[str, Deployment], task_id: Callable[[str], str]
) -> _Pair:
    """The setup and the teardown task of a deployment, without edges to others."""
    deployment = deployments[name]
    chain = {link: deployments[link] for link in (name, *need.wrapped)}
    when = "before the first step bound to it" if deployment.lazy else "when the run starts"
    common = task_arguments(dag.default_args)
    queue = queue_below(name, deployments)
    if queue:
        common["queue"] = queue
    deploy = DeployOperator(
        task_id=task_id(f"deploy_{name}"),
        deployment=name,
        deployments=chain,
        services=need.services,
        trigger_rule=trigger_rule_of(dag),
        doc_md=f"Brings the deployment `{name}` ({deployment.type}) up {when}.",
        **common,
    )
    undeploy = UndeployOperator(
        task_id=task_id(f"undeploy_{name}"),
        deployment=name,
        deployments=chain,
        doc_md=f"Removes the deployment `{name}` once nothing needs it.",
        **common,
    )
    deploy.as_setup()  # type: ignore[no-untyped-call]
    # a run's state is that of its steps; a failed teardown is only marked itself
    undeploy.as_teardown(setups=deploy, on_failure_fail_dagrun=False)
    return _Pair(deploy, undeploy)


def _connect(dag: DAG, tasks: Iterable[str], connect: Callable[[Any], None]) -> None:
    for task in sorted(tasks):
        connect(dag.get_task(task))


class _Order:
    """Which task of a DAG comes before which.

    Sets of tasks are integers with a bit per task: sets of names would grow with the square of a chain.
    """

    def __init__(self, dag: DAG) -> None:
        self.dag = dag
        # by tasks, not by Airflow's groups: a group of tasks may wait for one that waits for a task of the group
        self._tasks = list(
            TopologicalSorter({t.task_id: sorted(t.upstream_task_ids) for t in dag.tasks}).static_order()
        )
        self._numbers = {task: number for number, task in enumerate(self._tasks)}
        self._ancestors: dict[str, int] = {}
        """by task: those that it waits for"""
        for task in self._tasks:
            direct = dag.get_task(task).upstream_task_ids
            self._ancestors[task] = self._bits(direct) | _union(self._ancestors[other] for other in direct)

    def _bits(self, tasks: Iterable[str]) -> int:
        return _union(1 << self._numbers[task] for task in tasks)

    def _named(self, bits: int) -> set[str]:
        return {task for task, bit in zip(self._tasks, reversed(f"{bits:b}"), strict=False) if bit == "1"}

    def before(self, tasks: Collection[str]) -> set[str]:
        """The last tasks that all first ones of ``tasks`` wait for.

        Not every task that any of them waits for: a deployment must not make one step wait for another step's inputs.
        Nor a task in a mapped group, whose instances run independently.
        """
        users = self._bits(tasks)
        common = (1 << len(self._tasks)) - 1
        for task in tasks:
            if not self._ancestors[task] & users:
                common &= self._ancestors[task]
        named = self._named(common)
        outside = {task for task in named if self.dag.get_task(task).get_closest_mapped_task_group() is None}
        return self._named(self._bits(outside) & ~_union(self._ancestors[task] for task in outside))

    def readers(self, tasks: Collection[str], uses: Mapping[str, TaskUse]) -> set[str]:
        """``tasks``, and all others that may read files which these left where they ran."""
        holders, readers = set(tasks), set(tasks)
        for task in self._tasks:
            if task in uses and uses[task].reads & holders:
                readers.add(task)
                if uses[task].hands_on:
                    holders.add(task)
        return readers


def _union(sets: Iterable[int]) -> int:
    return functools.reduce(operator.or_, sets, 0)
