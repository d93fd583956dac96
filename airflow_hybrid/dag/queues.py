# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which of Airflow's queues the tasks of a DAG belong to: local deployments may be the machine of some workers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.config.queues import is_followed_by_triggerer, machine_below, queue_below
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Binding


def queue_of(names: Iterable[str], deployments: Mapping[str, Deployment]) -> str | None:
    """The queue of the workers that have the files of all these local deployments; None: no such queue is named.

    :param names: of the deployments that steps are bound to; those that neither are nor wrap local ones do not matter.
    """
    queues = {queue_below(name, deployments) for name in names if machine_below(name, deployments)}
    return queues.pop() if len(queues) == 1 else None


def queue_of_step(names: Iterable[str], deployments: Mapping[str, Deployment], around: str | None) -> str | None:
    """The queue of a step's task; None: none is named.

    :param names: of the deployments that the step is bound to.
    :param around: the queue of the tasks that belong to no step. It has the files of local deployments, which a step
        that a worker follows reads, wherever its jobs run.
    """
    names = list(names)
    if any(machine_below(name, deployments) for name in names):
        return queue_of(names, deployments)
    known = [name for name in names if name in deployments]
    return None if any(is_followed_by_triggerer(name, deployments) for name in known) else around


def check_queues(
    bindings: tuple[Binding, ...], deployments: Mapping[str, Deployment], steps: Iterable[str], where: str | None = None
) -> None:
    """Check that each step has a worker that can run it.

    :param steps: paths of the leaf steps.
    :raises ConfigError: a step's deployments are of different queues; or one has a queue, but the triggerer would
        follow the jobs.
    """
    for path in steps:
        bound = {target.deployment for target in bind(bindings, path).targets}
        names = sorted(bound & deployments.keys())
        queued = [name for name in names if queue_below(name, deployments)]
        if queued:
            _check_step(path, names, queued[0], deployments, where)


def _check_step(
    path: str, names: list[str], queued: str, deployments: Mapping[str, Deployment], where: str | None
) -> None:
    queue = queue_below(queued, deployments)
    for name in names:
        if is_followed_by_triggerer(name, deployments):
            raise ConfigError(
                f"step `{path}` is bound to `{queued}`, which has the queue `{queue}`, but the triggerer follows the"
                f" jobs of `{name}`, and it is not one of the workers of that queue",
                where=where,
                hint=f"with `deferrable: false` for `{name}`, the worker follows them",
            )
        if machine_below(name, deployments) and queue_below(name, deployments) != queue:
            raise ConfigError(
                f"step `{path}` is bound to local deployments of different queues: `{queued}` has `{queue}`, `{name}`"
                f" has `{queue_below(name, deployments) or 'none'}`",
                where=where,
                hint="give them the same `queue`, or bind the step to one of them",
            )
