# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Watches: streams of changes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from aiohttp import web

from ..objects import ApiError, KubeObject
from ..selectors import Selection
from ..storage import Change, Store
from .requests import is_set

BOOKMARK_S = 10.0
LONGEST_S = 3600.0


@dataclass(frozen=True, eq=False)
class _Open:
    """A watch that is open."""

    request: web.Request
    resource: str


class Watches:
    """Serves watches, and knows those that are open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: set[_Open] = set()

    def resources(self) -> list[str]:
        """What is watched now."""
        return [watch.resource for watch in self._open]

    def drop(self) -> None:
        """Cut the connections of all that are open."""
        for watch in list(self._open):
            if watch.request.transport:
                watch.request.transport.close()

    async def serve(self, request: web.Request, selection: Selection) -> web.StreamResponse:
        """Tell of changes until the client goes, or its time is over."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        changes: asyncio.Queue[Change] = asyncio.Queue()
        self._store.watchers.add(changes)
        watch = _Open(request, selection.kind.resource)
        self._open.add(watch)
        try:
            await _Watch(self._store, request, response, selection).run(changes)
        except ConnectionError:
            pass  # the client went away
        finally:
            self._store.watchers.discard(changes)
            self._open.discard(watch)
        return response


class _Watch:
    def __init__(self, store: Store, request: web.Request, response: web.StreamResponse, selection: Selection) -> None:
        self._store, self._query, self._response, self._selection = store, request.query, response, selection

    async def run(self, changes: asyncio.Queue[Change]) -> None:
        since = int(self._query.get("resourceVersion") or 0)
        if since and since < self._store.oldest:
            gone = ApiError(410, "Expired", f"too old resource version: {since} ({self._store.oldest})")
            await self._send("ERROR", gone.status())
            return
        await self._send_past(since)
        if is_set(self._query, "sendInitialEvents"):  # a list in the form of a watch
            await self._bookmark(annotations={"k8s.io/initial-events-end": "true"})
        await self._follow(changes)

    async def _send_past(self, since: int) -> None:
        """What has changed since a version, or else all that is there."""
        matches = self._selection.matches
        past: list[tuple[str, KubeObject]] = [
            (change.type, change.value)
            for change in self._store.log
            if since and change.version > since and matches(change.key, change.value)
        ]
        if not since:
            past = [("ADDED", value) for key, value in self._store.objects.items() if matches(key, value)]
        for type_, value in past:
            await self._send(type_, value)

    async def _follow(self, changes: asyncio.Queue[Change]) -> None:
        clock = asyncio.get_running_loop().time
        end_s = clock() + float(self._query.get("timeoutSeconds") or LONGEST_S)
        pause_s = BOOKMARK_S if is_set(self._query, "allowWatchBookmarks") else float("inf")
        bookmark_s = clock() + pause_s
        while (now_s := clock()) < end_s:
            try:
                change = await asyncio.wait_for(changes.get(), max(0.01, min(end_s, bookmark_s) - now_s))
            except asyncio.TimeoutError:
                if clock() >= bookmark_s:
                    bookmark_s = clock() + pause_s
                    await self._bookmark()
                continue
            if self._selection.matches(change.key, change.value):
                await self._send(change.type, change.value)

    async def _bookmark(self, **notes: object) -> None:
        meta = {"resourceVersion": str(self._store.version), "creationTimestamp": None, **notes}
        kind = self._selection.kind
        await self._send("BOOKMARK", {"kind": kind.name, "apiVersion": kind.version, "metadata": meta})

    async def _send(self, type_: str, value: KubeObject) -> None:
        await self._response.write(json.dumps({"type": type_, "object": value}).encode() + b"\n")
