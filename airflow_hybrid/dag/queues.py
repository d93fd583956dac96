# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which of Airflow's queues the tasks of a DAG belong to: local deployments may be the machine of some workers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Binding


def queue_of(names: Iterable[str], deployments: Mapping[str, Deployment]) -> str | None:
    """The queue of the workers that have the files of all these local deployments; None: no such queue is named.

    :param names: of the deployments that steps are bound to; others than local ones do not matter.
    """
    queues = {deployments[name].config.get("queue") for name in names if _is_local(deployments, name)}
    return queues.pop() if len(queues) == 1 else None


def check_queues(
    bindings: tuple[Binding, ...], deployments: Mapping[str, Deployment], steps: Iterable[str], where: str | None = None
) -> None:
    """Check that each step has a worker that can run it.

    :param steps: paths of the leaf steps.
    :raises ConfigError: a step's deployments are of different queues; or one has a queue, but the triggerer would
        follow the jobs.
    """
    for path in steps:
        names = sorted({target.deployment for target in bind(bindings, path).targets})
        queued = [name for name in names if _queue_below(deployments, name)]
        if queued:
            _check_step(path, names, queued[0], deployments, where)


def _check_step(
    path: str, names: list[str], queued: str, deployments: Mapping[str, Deployment], where: str | None
) -> None:
    queue = _queue_below(deployments, queued)
    for name in names:
        deployment = deployments.get(name)
        followed = not _is_local(deployments, name) or (deployment is not None and deployment.deferrable)
        if followed:
            raise ConfigError(
                f"step `{path}` is bound to `{queued}`, which has the queue `{queue}`, but the triggerer follows the"
                f" jobs of `{name}`, and it is not one of the workers of that queue",
                where=where,
                hint="a step with a queue is bound to local deployments only, which no other deployment wraps",
            )
        if _queue_below(deployments, name) != queue:
            raise ConfigError(
                f"step `{path}` is bound to local deployments of different queues: `{queued}` has `{queue}`, `{name}`"
                f" has `{_queue_below(deployments, name) or 'none'}`",
                where=where,
                hint="give them the same `queue`, or bind the step to one of them",
            )


def _is_local(deployments: Mapping[str, Deployment], name: str) -> bool:
    return name in deployments and deployments[name].type == "local"


def _queue_below(deployments: Mapping[str, Deployment], name: str) -> str | None:
    """The queue of a local deployment, or of the one that a deployment wraps."""
    seen: set[str] = set()
    while name in deployments and name not in seen:
        seen.add(name)
        deployment = deployments[name]
        if deployment.type == "local":
            queue: str | None = deployment.config.get("queue")
            return queue
        name = deployment.wraps or ""
    return None
