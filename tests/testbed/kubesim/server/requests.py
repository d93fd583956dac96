# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a request is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from ..objects import GROUPS, KINDS, ApiError, Key, Kind, KubeObject
from ..selectors import Selection
from .wire import decode


@dataclass(frozen=True)
class Target:
    """Objects, one object, or a part of one.

    :ivar name: None: all of the kind.
    :ivar part: ``status``, ``log``, ``exec``, ...
    """

    kind: Kind
    namespace: str | None
    name: str | None
    part: str | None

    @classmethod
    def of(cls, path: list[str]) -> Target:
        """What a path names.

        :raises web.HTTPNotFound: nothing.
        """
        if path[:2] == ["api", "v1"]:
            version, path = "v1", path[2:]
        elif path[:1] == ["apis"] and "/".join(path[1:3]) in GROUPS:
            version, path = "/".join(path[1:3]), path[3:]
        else:
            raise web.HTTPNotFound
        namespace = None
        if len(path) >= 3 and path[0] == "namespaces":
            namespace, path = path[1], path[2:]
        resource, name, part = (*path, None, None)[:3]
        kind = KINDS.get((version, str(resource)))
        if kind is None:
            raise web.HTTPNotFound
        return cls(kind, namespace, name, part)

    @property
    def key(self) -> Key:
        """Of the one object."""
        if self.name is None:
            raise web.HTTPNotFound
        return Key(self.kind, self.namespace, self.name)

    def selection(self, query: Mapping[str, str]) -> Selection:
        """The objects that a query asks for."""
        return Selection(self.kind, self.namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def is_set(query: Mapping[str, str], name: str) -> bool:
    """Whether a flag of a query is set."""
    return query.get(name) in ("true", "True", "1")


def method_of(request: web.Request, target: Target) -> str:
    """The method as Kubernetes counts it: HTTP's, or LIST, WATCH, or the part of an object that it is about."""
    if is_set(request.query, "watch"):
        return "WATCH"
    if request.method == "GET" and target.name is None:
        return "LIST"
    return target.part.upper() if target.part else request.method


async def body_of(request: web.Request) -> KubeObject:
    """What a client sends, as JSON or as protobuf; nothing is an empty object.

    :raises ApiError: it cannot be read.
    """
    if "protobuf" not in request.content_type:
        body: KubeObject = json.loads(await request.text() or "{}")
        return body
    try:
        return decode(await request.read())
    except ValueError as error:
        why = f"kubesim cannot read {error}: use 'kubectl apply -f'"
        raise ApiError(415, "UnsupportedMediaType", why) from None
