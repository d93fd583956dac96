# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Deployments: as many pods as `replicas` says, made anew when they go.

One controller does what upstream's Deployment and ReplicaSet controllers do together; there are no revisions: a changed
template takes effect for new pods only.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

from ..cluster import Deletion
from ..objects import ApiError, KubeObject, ended, is_going, is_ready
from .controller import Controller


class DeploymentController(Controller):
    """The pods of one Deployment."""

    async def look(self, value: KubeObject) -> bool:
        """Create and delete pods until there are as many as there are to be."""
        pods = self.pods(value)
        live = {key: pod for key, pod in pods.items() if not ended(pod) and not is_going(pod)}
        wanted: int = value["spec"].get("replicas", 1)
        for key in list(live)[wanted:]:
            self.cluster.delete(key, Deletion())
        refused = None
        try:
            for _ in range(wanted - len(live)):
                self.create_pod(copy.deepcopy(value["spec"]["template"]), value, f"{self.key.name}-")
        except ApiError as error:
            refused = error.message
            self.cluster.warn(value, "FailedCreate", f"Error creating: {refused}")
        self.write(value, _status(value, live.values(), refused))
        return False


def _status(value: KubeObject, live: Collection[KubeObject], refused: str | None) -> KubeObject:
    ready = sum(is_ready(pod) for pod in live)
    wanted = value["spec"].get("replicas", 1)
    conditions = [
        {"type": "Available", "status": str(ready >= wanted), "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]
    if refused:
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused}
        conditions.append(failure)
    return {
        "observedGeneration": value["metadata"].get("generation", 1),
        "replicas": len(live), "updatedReplicas": len(live), "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": conditions,
    }  # fmt: skip
