# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Binds pods to the one node while there is room; a pod that does not fit says why.

After https://kubernetes.io/docs/concepts/scheduling-eviction/.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..objects import ALLOCATABLE, NODE, NODE_LABELS, PODS, Key, KubeObject, ended, is_going, now
from ..quotas import asked, quantity
from ..storage import Store

Warn = Callable[[KubeObject, str, str], None]
"""records a warning of an object: the object, reason, message"""


class Scheduler:
    """Gives pods their places.

    :ivar wake: to be set when there may be room again.
    """

    def __init__(self, store: Store, warn: Warn) -> None:
        self._store, self._warn = store, warn
        self.wake = asyncio.Event()

    async def place(self, key: Key) -> bool:
        """Wait until the pod has room; False if it was deleted meanwhile."""
        while True:
            pod = self._store.objects.get(key)
            if pod is None or is_going(pod):
                return False
            why = self._problem(pod)
            if why is None:
                pod["spec"]["nodeName"] = NODE
                return True
            self._say(key, pod, why)
            try:
                await asyncio.wait_for(self.wake.wait(), 1)
            except asyncio.TimeoutError:
                pass  # looked at again all the same
            self.wake.clear()

    def _problem(self, pod: KubeObject) -> str | None:
        """Why the pod cannot run now, as kube-scheduler says it, or None."""
        for name, value in (pod["spec"].get("nodeSelector") or {}).items():
            if NODE_LABELS.get(name) != value:
                return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        used = self._used()
        short = [
            "1 Too many pods" if name == "pods" else f"1 Insufficient {name}"
            for name, value in {**asked(pod), "pods": 1.0}.items()
            if used.get(name, 0) + value > quantity(ALLOCATABLE.get(name, 0))
        ]
        return f"0/1 nodes are available: {', '.join(short)}." if short else None

    def _used(self) -> dict[str, float]:
        """What the pods that have places ask for, together."""
        used = {"pods": 0.0}
        for pod in self._store.select(PODS).values():
            if pod["spec"].get("nodeName") and not ended(pod):
                used["pods"] += 1
                for name, value in asked(pod).items():
                    used[name] = used.get(name, 0) + value
        return used

    def _say(self, key: Key, pod: KubeObject, why: str) -> None:
        conditions = pod["status"].get("conditions") or []
        if conditions and conditions[0].get("message") == why:
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        pod["status"].update(phase="Pending", conditions=[{**condition, "lastTransitionTime": now()}])
        self._store.put(key, pod, "MODIFIED")
        self._warn(pod, "FailedScheduling", why)
