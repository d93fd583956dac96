# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""By which tests look at the double and do it harm: /kubesim/... beside the API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from ..cluster import Cluster
from ..objects import PODS, ApiError, Key
from .requests import Target
from .watches import Watches

How = Literal["lose", "refuse"]


@dataclass
class Fault:
    """What is to go wrong.

    :ivar method: None: of any.
    :ivar resource: None: any.
    :ivar count: how often it still happens.
    """

    how: How
    method: str | None
    resource: str | None
    count: int
    error: ApiError

    @classmethod
    def of(cls, how: How, body: dict[str, Any]) -> Fault:
        """As a test writes it."""
        reason, message = body.get("reason", "InternalError"), body.get("message", "refused by the test")
        error = ApiError(body.get("code", 500), reason, message)
        return cls(how, body.get("method"), body.get("resource"), body["count"], error)

    def happens(self, how: How, method: str, resource: str) -> bool:
        """Whether it is to go wrong now."""
        if self.how != how or self.count <= 0:
            return False
        return self.method in (None, method) and self.resource in (None, resource)


class Harm:
    """What tests ask of the double.

    GET /kubesim/requests: ``[[method, resource, name or null, user agent], ...]`` and what was created since the last
    reset, and what is watched now.

    POST /kubesim/reset; /kubesim/compact (older watches get 410); /kubesim/drop (end open watches);
    /kubesim/evict/NS/POD {"message"}; /kubesim/lose {"method", "resource", "count"}: do what is asked and close
    the connection without an answer; /kubesim/refuse {"code", "count"}: answer so.
    """

    def __init__(self, cluster: Cluster, watches: Watches) -> None:
        self._cluster, self._watches = cluster, watches
        self._requests: list[tuple[str, str, str | None, str]] = []
        self._faults: list[Fault] = []

    async def answer(self, request: web.Request, path: list[str]) -> web.Response:
        """Do what is asked by a path below /kubesim."""
        body = json.loads(await request.text() or "{}")
        match path:
            case ["requests"]:
                created = self._cluster.created
                watched = self._watches.resources()
                return web.json_response({"requests": self._requests, "watches": watched, "created": created})
            case ["reset"]:
                self._requests.clear()
                self._faults.clear()
                self._cluster.created.clear()
            case ["compact"]:
                self._cluster.store.compact()
            case ["drop"]:
                self._watches.drop()
            case ["evict", namespace, name]:
                message = body.get("message", "The node was low on resource: memory.")
                await self._cluster.kubelet.evict(Key(PODS, namespace, name), message)
            case ["lose" | "refuse" as how]:
                self._faults.append(Fault.of(how, body))
            case _:
                raise web.HTTPNotFound
        return web.json_response({})

    def note(self, request: web.Request, method: str, target: Target) -> None:
        """Count a request."""
        agent = request.headers.get("User-Agent", "").split("/")[0]
        self._requests.append((method, target.kind.resource, target.name, agent))

    def refuse(self, method: str, target: Target) -> None:
        """Refuse a request where that is asked for.

        :raises ApiError: it is.
        """
        fault = self._next("refuse", method, target)
        if fault is not None:
            raise fault.error

    def loses(self, method: str, target: Target) -> bool:
        """Whether the answer is to be lost."""
        return self._next("lose", method, target) is not None

    def _next(self, how: How, method: str, target: Target) -> Fault | None:
        for fault in self._faults:
            if fault.happens(how, method, target.kind.resource):
                fault.count -= 1
                return fault
        return None
