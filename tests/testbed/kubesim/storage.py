# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where objects are kept, and the log of changes for watches."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .objects import ApiError, Key, Kind, KubeObject

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
LOGGED = 20_000
"""changes after which the older half of the log is forgotten"""


@dataclass(frozen=True)
class Change:
    """What happened to one object, with the object as it was then."""

    version: int
    type: ChangeType
    key: Key
    value: KubeObject


class Store:
    """All objects, and the log of their changes.

    :ivar version: of the last change.
    :ivar oldest: changes up to here are forgotten (410 Gone).
    :ivar watchers: queues that get every change.
    :ivar listeners: called with every change.
    """

    def __init__(self) -> None:
        self.version = 100
        self.oldest = 0
        self.objects: dict[Key, KubeObject] = {}
        self.log: list[Change] = []
        self.watchers: set[asyncio.Queue[Change]] = set()
        self.listeners: list[Callable[[Change], None]] = []

    def put(self, key: Key, value: KubeObject, change: ChangeType) -> KubeObject:
        """Keep an object, new or changed, under a new version."""
        self.objects[key] = value
        self._tell(change, key, value)
        return value

    def remove(self, key: Key) -> None:
        """Forget an object, if it is there."""
        value = self.objects.pop(key, None)
        if value:
            self._tell("DELETED", key, value)

    def get(self, key: Key) -> KubeObject:
        """The object.

        :raises ApiError: it is not there.
        """
        if key not in self.objects:
            raise ApiError(404, "NotFound", f'{key.kind.resource} "{key.name}" not found')
        return self.objects[key]

    def select(self, kind: Kind, namespace: str | None = None) -> dict[Key, KubeObject]:
        """Objects of a kind, in one namespace or in all."""
        return {
            key: value for key, value in self.objects.items() if key.kind is kind and namespace in (None, key.namespace)
        }

    def owned_by(self, owner: KubeObject) -> dict[Key, KubeObject]:
        """What goes with its owner."""
        uid = owner["metadata"]["uid"]
        return {
            key: value
            for key, value in self.objects.items()
            if any(reference.get("uid") == uid for reference in value["metadata"].get("ownerReferences", []))
        }

    def compact(self) -> None:
        """Forget all changes so far, as etcd does every five minutes."""
        self.oldest = self.version
        self.log.clear()

    def _tell(self, type_: ChangeType, key: Key, value: KubeObject) -> None:
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        change = Change(self.version, type_, key, copy.deepcopy(value))
        self.log.append(change)
        if len(self.log) > LOGGED:
            self.oldest = self.log[LOGGED // 2].version
            del self.log[: LOGGED // 2 + 1]
        for watcher in list(self.watchers):
            watcher.put_nowait(change)
        for listener in self.listeners:
            listener(change)


def merge(old: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7386 (strategic merge patches are treated the same way)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
