# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Creates and deletes objects, and starts what follows from it: the lives of pods, and controllers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .admission import admit, named
from .defaults import complete, identify
from .node.kubelet import Kubelet
from .node.scheduler import Scheduler
from .objects import (
    ALLOCATABLE,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    NODE,
    NODE_LABELS,
    NODES,
    PODS,
    ApiError,
    Key,
    Kind,
    KubeObject,
    is_going,
    now,
    success,
)
from .storage import Change, Store

OWNERS = (JOBS, DEPLOYMENTS)
"""kinds that have controllers, and pods of their own"""


@dataclass(frozen=True)
class Deletion:
    """How an object is to be deleted.

    :ivar grace_s: None: what the pod says.
    :ivar propagation: ``Orphan``, ``Foreground``, ...; None: in the background.
    """

    grace_s: int | None = None
    propagation: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Deletion:
        """As a client writes it."""
        grace = options.get("gracePeriodSeconds")
        return cls(None if grace is None else int(grace), options.get("propagationPolicy"))


class Cluster:
    """The objects, and what happens to them.

    :ivar controllers: what is started with a new object of a kind.
    :ivar created: resource and name of all that was created, for tests.
    """

    def __init__(self, root: Path) -> None:
        self.store = Store()
        self.scheduler = Scheduler(self.store, self.warn)
        self.kubelet = Kubelet(self.store, self.scheduler, root)
        self.controllers: dict[Kind, Callable[[Key], Coroutine[Any, Any, None]]] = {PODS: self.kubelet.run}
        self.created: list[tuple[str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken: dict[Key, asyncio.Event] = {}
        self._events = 0
        self.store.listeners.append(self._wake)
        for name in ("default", "kube-system"):
            self.create(NAMESPACES, None, {"metadata": {"name": name}})
        conditions = [{"type": "Ready", "status": "True"}]
        status = {"conditions": conditions, "capacity": ALLOCATABLE, "allocatable": ALLOCATABLE}
        self.create(NODES, None, {"metadata": {"name": NODE, "labels": NODE_LABELS}, "status": status})

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something happen beside all else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- for controllers

    def changes(self, key: Key) -> asyncio.Event:
        """Set when an object, or what it owns, has changed; until ``no_changes``."""
        self._woken[key] = asyncio.Event()
        return self._woken[key]

    def no_changes(self, key: Key) -> None:
        """Nobody waits for them any more."""
        self._woken.pop(key, None)

    def _wake(self, change: Change) -> None:
        concerned = [change.key]
        for owner in change.value["metadata"].get("ownerReferences", []):
            concerned += [Key(kind, change.key.namespace, owner["name"]) for kind in OWNERS]
        for key in concerned:
            if key in self._woken:
                self._woken[key].set()

    def warn(self, value: KubeObject, reason: str, message: str) -> None:
        """Record a warning of an object."""
        self.event(value, "Warning", reason, message)

    def event(self, value: KubeObject, type_: str, reason: str, message: str) -> None:
        """Record an event of an object; one that there was before is counted."""
        meta, at = value["metadata"], now()
        namespace: str | None = meta.get("namespace")
        about = {"kind": value["kind"], "namespace": namespace, "name": meta["name"], "uid": meta["uid"]}
        what = {"involvedObject": about, "reason": reason, "message": message}
        for key, event in self.store.select(EVENTS).items():
            if all(event.get(name) == part for name, part in what.items()):
                event.update(count=event["count"] + 1, lastTimestamp=at)
                self.store.put(key, event, "MODIFIED")
                return
        self._events += 1
        times = {"count": 1, "firstTimestamp": at, "lastTimestamp": at}
        source = {"type": type_, "source": {"component": "kubesim"}}
        event = {"metadata": {"name": f"{meta['name']}.{self._events:x}"}, **what, **times, **source}
        self.create(EVENTS, namespace, event)

    # --- objects

    def create(self, kind: Kind, namespace: str | None, value: KubeObject, *, dry: bool = False) -> KubeObject:
        """Create an object, with all that follows.

        :param dry: only say what it would be.
        :raises ApiError: it is refused.
        """
        value.setdefault("metadata", {})
        value["apiVersion"], value["kind"] = kind.version, kind.name
        key = named(self.store, kind, namespace, value)
        admit(self.store, key, value)
        identify(key, value)
        if dry:
            return value
        complete(key, value)
        self.store.put(key, value, "ADDED")
        self.created.append((kind.resource, key.name))
        if kind in self.controllers:
            self.spawn(self.controllers[kind](key))
        return value

    def delete(self, key: Key, deletion: Deletion) -> KubeObject:
        """Delete an object, and what goes with it.

        :raises ApiError: it is not there.
        """
        value = self.store.get(key)
        if key.kind is PODS:
            self._delete_pod(key, value, deletion)
            return value
        children = self._children(key, value, deletion)
        foreground = key.kind in OWNERS and deletion.propagation == "Foreground"
        if children and (foreground or key.kind is NAMESPACES):  # goes when all in it has gone
            if is_going(value):
                return value
            value["metadata"]["deletionTimestamp"] = now()
            if foreground:
                value["metadata"]["finalizers"] = ["foregroundDeletion"]
            else:
                value["status"] = {"phase": "Terminating"}
            self.store.put(key, value, "MODIFIED")
            self.spawn(self._delete_last(key, children))
        else:
            self.store.remove(key)
        for child in children:
            with contextlib.suppress(ApiError):  # it has gone with another one
                self.delete(child, Deletion(deletion.grace_s))
        return success(name=key.name, uid=value["metadata"]["uid"])

    def _delete_pod(self, key: Key, pod: KubeObject, deletion: Deletion) -> None:
        if is_going(pod):
            return
        grace_s = deletion.grace_s
        if grace_s is None:
            grace_s = int(pod["spec"].get("terminationGracePeriodSeconds", 30))
        pod["metadata"].update(deletionTimestamp=now(), deletionGracePeriodSeconds=grace_s)
        self.store.put(key, pod, "MODIFIED")
        self.spawn(self.kubelet.kill(key, grace_s))

    def _children(self, key: Key, value: KubeObject, deletion: Deletion) -> list[Key]:
        """What is deleted with an object."""
        if key.kind is NAMESPACES:
            return [child for child in self.store.objects if child.namespace == key.name]
        if key.kind in OWNERS and deletion.propagation != "Orphan":
            return list(self.store.owned_by(value))
        return []

    async def _delete_last(self, key: Key, children: list[Key]) -> None:
        while any(child in self.store.objects for child in children):
            await asyncio.sleep(0.1)
        self.store.remove(key)
