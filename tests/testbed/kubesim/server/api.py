# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The REST API."""

from __future__ import annotations

import copy
import json

import jsonpatch
from aiohttp import web
from aiohttp.typedefs import Handler

from ..cluster import Cluster, Deletion
from ..objects import QUOTAS, ApiError, Key, KubeObject, success
from ..quotas import with_status
from ..storage import merge
from . import discovery, streams
from .harm import Harm
from .requests import Target, body_of, is_set, method_of
from .watches import Watches


class Api:
    """Serves a cluster.

    :param token: requests without this bearer token are refused; None: it is not asked for.
    """

    def __init__(self, cluster: Cluster, token: str | None) -> None:
        self._cluster, self._store, self._token = cluster, cluster.store, token
        self._watches = Watches(cluster.store)
        self._harm = Harm(cluster, self._watches)

    def application(self) -> web.Application:
        """For aiohttp."""
        made = web.Application(middlewares=[self._errors], client_max_size=1 << 30)
        made.router.add_route("*", "/{path:.*}", self._answer)
        return made

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check_token(request)
            return await handler(request)
        except web.HTTPNotFound:
            error = ApiError(404, "NotFound", "the server could not find the requested resource")
        except ApiError as raised:
            error = raised
        return web.json_response(error.status(), status=error.code)

    def _check_token(self, request: web.Request) -> None:
        if self._token is not None and request.headers.get("Authorization") != f"Bearer {self._token}":
            raise ApiError(401, "Unauthorized", "Unauthorized")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = [part for part in request.path.split("/") if part]
        if path[:1] == ["kubesim"]:
            return await self._harm.answer(request, path[1:])
        if path in (["healthz"], ["livez"], ["readyz"]):
            return web.Response(text="ok")
        document = discovery.document(path)
        if document is not None:
            return web.json_response(document)
        target = Target.of(path)
        method = method_of(request, target)
        self._harm.note(request, method, target)
        self._harm.refuse(method, target)
        if target.part == "log":
            return await streams.logs(self._store, request, target.key)
        if target.part in ("exec", "attach"):
            return await streams.attached(self._store, request, target.key, target.part)
        match request.method:
            case "POST":
                return await self._post(request, target, loses=self._harm.loses(method, target))
            case "GET":
                return await self._get(request, target)
            case "DELETE":
                return await self._delete(request, target)
            case "PUT":
                return await self._put(request, target)
        return await self._patch(request, target)

    async def _post(self, request: web.Request, target: Target, *, loses: bool) -> web.Response:
        body = await body_of(request)
        if target.part == "eviction":
            self._evict(target.key, Deletion.of(body.get("deleteOptions") or {}))
            return web.json_response(success(201), status=201)
        dry = request.query.get("dryRun") == "All"
        created = self._cluster.create(target.kind, target.namespace, body, dry=dry)
        if loses and request.transport is not None:
            request.transport.close()
        return web.json_response(created, status=201)

    def _evict(self, key: Key, deletion: Deletion) -> None:
        pod = self._store.get(key)
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        condition["message"] = "Eviction API: evicting"
        pod["status"].setdefault("conditions", []).insert(0, condition)
        self._cluster.delete(key, deletion)

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.name is not None:
            return web.json_response(self._shown(target.key, self._store.get(target.key)))
        if is_set(request.query, "watch"):
            return await self._watches.serve(request, target.selection(request.query))
        return web.json_response(self._list(request, target))

    def _shown(self, key: Key, value: KubeObject) -> KubeObject:
        return with_status(self._store, key, value) if key.kind is QUOTAS else value

    def _list(self, request: web.Request, target: Target) -> KubeObject:
        """A page of objects."""
        selection = target.selection(request.query)
        items = [self._shown(key, value) for key, value in self._store.objects.items() if selection.matches(key, value)]
        meta: KubeObject = {"resourceVersion": str(self._store.version)}
        start = int(request.query.get("continue") or 0)
        limit = int(request.query.get("limit") or 0) or len(items)
        end = start + limit
        if end < len(items):
            meta |= {"continue": str(end), "remainingItemCount": len(items) - end}
        kind = {"kind": f"{target.kind.name}List", "apiVersion": target.kind.version}
        return {**kind, "metadata": meta, "items": items[start:end]}

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        deletion = Deletion.of({**request.query, **await body_of(request)})
        if target.name is not None:
            return web.json_response(self._cluster.delete(target.key, deletion))
        selection = target.selection(request.query)
        for key, value in list(self._store.objects.items()):
            if selection.matches(key, value):
                self._cluster.delete(key, deletion)
        return web.json_response(success())

    async def _put(self, request: web.Request, target: Target) -> web.Response:
        body = await body_of(request)
        old = self._store.get(target.key)
        version = body.get("metadata", {}).get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            what = f'{target.kind.resource} "{target.name}"'
            why = f"Operation cannot be fulfilled on {what}: the object has been modified"
            raise ApiError(409, "Conflict", why)
        if target.part == "status":
            return self._replace(target.key, {**copy.deepcopy(old), "status": body.get("status")})
        return self._replace(target.key, {**body, "status": old.get("status")})

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        patch = json.loads(await request.text())
        key = target.key
        if "apply-patch" in request.content_type and key not in self._store.objects:  # server-side apply
            return web.json_response(self._cluster.create(target.kind, target.namespace, patch), status=201)
        old = copy.deepcopy(self._store.get(key))
        if "json-patch" in request.content_type:
            return self._replace(key, jsonpatch.apply_patch(old, patch))
        return self._replace(key, merge(old, patch))

    def _replace(self, key: Key, value: KubeObject) -> web.Response:
        """Keep another object in the place of one, which is still the same to all."""
        old = self._store.get(key)["metadata"]
        value["metadata"] |= {name: old[name] for name in ("uid", "creationTimestamp", "namespace") if name in old}
        return web.json_response(self._store.put(key, value, "MODIFIED"))
