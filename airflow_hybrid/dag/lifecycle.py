# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Setup and teardown tasks around the steps of a deployment that is made for the DAG run.

A deployment is up before the first step bound to it, and goes when nothing of it is needed any more: after the last
step bound to it, and after whoever reads files that are still there (steps elsewhere that consume its outputs, and
the task that gathers the workflow's outputs). Who that is follows from the DAG: files stay behind the *values* of
tasks that ran there, and tasks without a place of their own (plans, expressions) hand such values on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import DAG

from airflow_hybrid.config import Deployment
from airflow_hybrid.operators.deployments import DeployOperator, UndeployOperator

RETRIES = 2
"""of a deployment's tasks where the DAG's ``default_args`` say nothing: an attempt that was killed is repeated"""


@dataclass(frozen=True)
class Use:
    """What a task has to do with deployments.

    :ivar reads: ids of the tasks whose values it reads.
    :ivar bound: the deployments, and services of them, where its jobs may run.
    :ivar hands_on: its value may name files that it did not make.
    """

    reads: frozenset[str] = frozenset()
    bound: frozenset[tuple[str, str | None]] = frozenset()
    hands_on: bool = False


def _chain(
    deployments: Mapping[str, Deployment], name: str, service: str | None = None
) -> list[tuple[str, str | None]]:
    """A deployment and what it works inside of, outermost first, each with the service of it that is used."""
    found: dict[str, str | None] = {}
    while name in deployments and name not in found:
        found[name] = service
        name, service = deployments[name].wraps or "", deployments[name].wraps_service
    return list(found.items())


def add_deployment_tasks(
    dag: DAG,
    deployments: Mapping[str, Deployment],
    uses: Mapping[str, Use],
    task_id: Callable[[str], str],
) -> None:
    """Add the setup and teardown tasks of all managed deployments that steps of ``dag`` are bound to.

    :param uses: per task of the DAG that has to do with deployments.
    :param task_id: makes a task id that is not taken.
    """
    users: dict[str, set[str]] = {}
    services: dict[str, set[str]] = {}
    for task, use in sorted(uses.items()):
        for bound, service in use.bound:
            for name, inner_service in _chain(deployments, bound, service):
                if deployments[name].managed:
                    users.setdefault(name, set()).add(task)
                    services.setdefault(name, set()).update([inner_service] if inner_service else [])
    if not users:
        return
    order = _Order(dag)
    # all of it is looked at before the first edge is added
    plans = {name: (order.before(tasks), order.readers(tasks, uses)) for name, tasks in sorted(users.items())}
    pairs: dict[str, tuple[DeployOperator, UndeployOperator]] = {}
    retries = {} if "retries" in dag.default_args else {"retries": RETRIES, "retry_delay": 10.0}
    for name in users:
        deployment = deployments[name]
        around = {inner: deployments[inner] for inner, _ in _chain(deployments, name)}
        when = "before the first step bound to it" if deployment.lazy else "when the run starts"
        deploy = DeployOperator(
            task_id=task_id(f"deploy_{name}"), deployment=name, deployments=around, trigger_rule="none_failed",
            services=services[name], doc_md=f"Brings the deployment `{name}` ({deployment.type}) up {when}.", **retries,
        )  # fmt: skip
        undeploy = UndeployOperator(
            task_id=task_id(f"undeploy_{name}"), deployment=name, deployments=around,
            doc_md=f"Takes the deployment `{name}` away when nothing of it is needed any more.", **retries,
        )  # fmt: skip
        deploy.as_setup()  # type: ignore[no-untyped-call]
        # a run's state is that of its steps; a teardown that fails is red by itself
        undeploy.as_teardown(setups=deploy, on_failure_fail_dagrun=False)
        pairs[name] = deploy, undeploy
    for name, tasks in users.items():
        deploy, undeploy = pairs[name]
        before, readers = plans[name]
        inner = [inner for inner, _ in _chain(deployments, name)[1:] if inner in pairs]
        if inner:
            deploy.set_upstream(pairs[inner[0]][0])
            undeploy.set_downstream(pairs[inner[0]][1])
        if deployments[name].lazy:
            _connect(dag, before, deploy.set_upstream)
        _connect(dag, tasks, deploy.set_downstream)
        _connect(dag, readers, undeploy.set_upstream)


def _connect(dag: DAG, tasks: Iterable[str], connect: Callable[[Any], None]) -> None:
    for task in sorted(tasks):
        connect(dag.get_task(task))


class _Order:
    """Which task of a DAG comes before which."""

    def __init__(self, dag: DAG) -> None:
        self.dag = dag
        self._ancestors: dict[str, frozenset[str]] = {}

    def ancestors(self, task: str) -> frozenset[str]:
        """All tasks that ``task`` waits for."""
        if task not in self._ancestors:
            direct = self.dag.get_task(task).upstream_task_ids
            self._ancestors[task] = frozenset(direct).union(*(self.ancestors(t) for t in direct))
        return self._ancestors[task]

    def before(self, tasks: Collection[str]) -> set[str]:
        """The last tasks that every first one of ``tasks`` waits for.

        Not all that any of them waits for: a deployment must not make one step wait for the other's inputs. Nor a
        task in a mapped group, of which each instance goes on by itself.
        """
        firsts = [task for task in tasks if not self.ancestors(task) & set(tasks)]
        common = frozenset.intersection(*(self.ancestors(task) for task in firsts))
        outside = {t for t in common if self.dag.get_task(t).get_closest_mapped_task_group() is None}
        return {t for t in outside if not any(t in self.ancestors(other) for other in outside)}

    def readers(self, tasks: Collection[str], uses: Mapping[str, Use]) -> set[str]:
        """``tasks``, and all others that may read files which those left where they ran."""
        holders, readers = set(tasks), set(tasks)
        for task in sorted(uses, key=lambda name: len(self.ancestors(name))):
            if uses[task].reads & holders:
                readers.add(task)
                if uses[task].hands_on:
                    holders.add(task)
        return readers
