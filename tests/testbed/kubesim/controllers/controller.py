# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the controllers of Jobs and Deployments have in common: they look when something has changed."""

from __future__ import annotations

import abc
import asyncio

from ..cluster import Cluster
from ..objects import PODS, Key, KubeObject, is_going

LOOK_S = 0.5
"""they look so often at least"""


class Controller(abc.ABC):
    """The life of one object that has pods.

    :ivar key: of the object.
    """

    def __init__(self, cluster: Cluster, key: Key) -> None:
        self.cluster, self.key = cluster, key

    async def run(self) -> None:
        """Look at the object and its pods whenever they change, until it goes or comes to its end."""
        wake = self.cluster.changes(self.key)
        try:
            while (value := self.value) is not None and not is_going(value):
                if await self.look(value):
                    return
                try:
                    await asyncio.wait_for(wake.wait(), LOOK_S)
                except asyncio.TimeoutError:
                    pass  # looked at again all the same
                wake.clear()
                await asyncio.sleep(0.05)  # one look for several changes
        finally:
            self.cluster.no_changes(self.key)

    @abc.abstractmethod
    async def look(self, value: KubeObject) -> bool:
        """Do what is to be done now; True: the object has come to its end."""

    @property
    def value(self) -> KubeObject | None:
        """The object, if it is still there."""
        return self.cluster.store.objects.get(self.key)

    def pods(self, owner: KubeObject) -> dict[Key, KubeObject]:
        """Those that the object owns."""
        return {key: pod for key, pod in self.cluster.store.owned_by(owner).items() if key.kind is PODS}

    def create_pod(self, template: KubeObject, owner: KubeObject, prefix: str) -> None:
        """Create a pod.

        :param template: its own: it becomes the pod.
        :param prefix: of its name.
        :raises ApiError: it is refused.
        """
        meta = template.setdefault("metadata", {})
        meta["generateName"] = prefix
        reference = {"apiVersion": self.key.kind.version, "kind": self.key.kind.name, "name": self.key.name}
        control = {"controller": True, "blockOwnerDeletion": True}
        meta["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"], **control}]
        self.cluster.create(PODS, self.key.namespace, template)

    def write(self, value: KubeObject, status: KubeObject) -> None:
        """Keep the status of the object, if it is another one."""
        if value.get("status") != status:
            value["status"] = status
            self.cluster.store.put(self.key, value, "MODIFIED")
