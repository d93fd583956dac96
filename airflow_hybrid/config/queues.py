# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the jobs of a deployment are followed: in the triggerer, or in a worker, perhaps in those of one queue."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_hybrid.config.values import Deployment


def machine_below(name: str, deployments: Mapping[str, Deployment]) -> Deployment | None:
    """The ``local`` deployment that a deployment is, or wraps; None: it is at a site that is reached from anywhere."""
    seen: set[str] = set()
    while name in deployments and name not in seen:
        seen.add(name)
        deployment = deployments[name]
        if deployment.type == "local":
            return deployment
        name = deployment.wraps or ""
    return None


def queue_below(name: str, deployments: Mapping[str, Deployment]) -> str | None:
    """The queue of the local deployment that a deployment is, or wraps; None: there is none, or it has no queue."""
    machine = machine_below(name, deployments)
    queue: str | None = machine.config.get("queue") if machine else None
    return queue


def is_followed_by_triggerer(name: str, deployments: Mapping[str, Deployment]) -> bool:
    """Whether the triggerer follows the jobs of a deployment, as its ``deferrable`` says.

    Where that says nothing, it follows all but those of local deployments, and of what works through a local
    deployment with a queue: only the workers of that queue are on its machine.
    """
    deployment = deployments[name]
    if deployment.deferrable is not None:
        return deployment.deferrable
    return deployment.type != "local" and queue_below(name, deployments) is None
