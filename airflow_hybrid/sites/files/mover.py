# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Brings files to where they are needed, by the shortest route.

Routes, best first: already there; link inside the location; copy inside the deployment; direct between two
deployments that have a link; relay through this machine; HTTP(S), fetched by the destination itself. A copy is made
under a temporary name, its digest is compared at the destination, and only then is it renamed, atomically.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from airflow_hybrid import metrics, settings
from airflow_hybrid.config import Link
from airflow_hybrid.errors import CommandError, HybridError, TransferError
from airflow_hybrid.metrics import table
from airflow_hybrid.model import FileRef, LineageEntry
from airflow_hybrid.sites.files import scripts, web
from airflow_hybrid.sites.files.carrier import LOOK_TIMEOUT_S, Carrier, bytes_per_s, streams
from airflow_hybrid.sites.files.link_script import link_files
from airflow_hybrid.sites.files.links import KnownWays
from airflow_hybrid.sites.files.requests import (
    IN_PLACE,
    Copied,
    Key,
    StageRequest,
    checksum_of,
    gather_all,
    gone,
    key_of,
    transfer_id,
    unlike,
)  # fmt: skip
from airflow_hybrid.sites.files.store import is_content_addressed, store_path
from airflow_hybrid.sites.files.unchanged import A_LINK, GONE, Recorded, differences
from airflow_hybrid.sites.files.under_way import under_way
from airflow_hybrid.sites.hosts.base import PATH_BYTES, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.per_loop import PerLoop

__all__ = ["DataMover", "StageRequest", "store_path"]

log = logging.getLogger(__name__)


_STAGING: PerLoop[Key, asyncio.Future[None]] = PerLoop()
"""copies that a mover is making; a future is done when its copy was made or has failed"""
_TURNS: PerLoop[tuple[str, str], asyncio.Semaphore] = PerLoop()
"""key: deployment and key of the host"""
_WAYS: PerLoop[str, KnownWays] = PerLoop()


class FileLocations(Protocol):
    """Where files are: :class:`airflow_hybrid.sites.connectors.locations.Locations`, or a test's own."""

    def same_storage(self, ref: FileRef, host: Host) -> bool:
        """Whether ``host`` sees the file under the same path."""

    async def host_of(self, ref: FileRef) -> Host:
        """The location that holds the file."""

    def links(self) -> Sequence[Link]:
        """Which deployments reach each other, by the names that their hosts have."""


class DataMover:
    """Moves files between the deployments of one workflow.

    :param locations: says where files are.
    """

    def __init__(self, locations: FileLocations) -> None:
        self.locations = locations

    @staticmethod
    def bytes_per_s(source: str, destination: str) -> float | None:
        """Speed between two deployments, as measured by this process; None: not measured yet."""
        return bytes_per_s(source, destination)

    # --- staging -----------------------------------------------------------------------------------------------------

    async def stage(self, requests: Sequence[StageRequest]) -> list[LineageEntry]:
        """Bring every request's file to its path.

        Within this process, requests for one path wait for the first one; two processes that bring the same file do no
        harm.

        :returns: one entry per request, in the same order.
        :raises TransferError: a file is gone, repeatedly arrives changed, or the disk is full.
        :raises SiteError: a location is unavailable.
        """
        entries: dict[Key, LineageEntry] = {}
        waiting = {key_of(request): request for request in requests}
        while waiting:
            entries.update(await self._stage_or_wait(waiting))
            waiting = {key: request for key, request in waiting.items() if key not in entries}
        staged: set[Key] = set()
        result = []
        for request in requests:
            entry = entries[key_of(request)]
            result.append(replace(entry, reused=True, seconds=0.0) if key_of(request) in staged else entry)
            staged.add(key_of(request))
        return result

    async def _stage_or_wait(self, requests: Mapping[Key, StageRequest]) -> dict[Key, LineageEntry]:
        """Stage what nobody else is staging, and wait for the others, which are then checked again."""
        staging = _STAGING.here()
        mine = {key: request for key, request in requests.items() if key not in staging}
        others = [staging[key] for key in requests if key not in mine]
        done: dict[Key, LineageEntry] = {}
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        staging.update(dict.fromkeys(mine, future))
        try:
            hosts: dict[tuple[str, str], list[StageRequest]] = {}
            for request in mine.values():
                hosts.setdefault((request.host.deployment, request.host.key), []).append(request)
            for result in await gather_all(*(self._stage_at(group[0].host, group) for group in hosts.values())):
                done.update(result)
        finally:
            for key in mine:
                del staging[key]
            future.set_result(None)
        if others:
            await asyncio.wait(others)
        return done

    async def _stage_at(self, host: Host, requests: Sequence[StageRequest]) -> dict[Key, LineageEntry]:
        """All requests of one location: one probe, then each group by its best route."""
        urls = [request for request in requests if request.ref is None]
        files = [request for request in requests if request.ref is not None]
        digests = await self._probe(host, files) if files else {}
        done: dict[Key, LineageEntry] = {}
        groups: dict[tuple[str, str], list[StageRequest]] = {}
        inside: list[StageRequest] = []
        for request in files:
            ref = request.ref
            assert ref is not None
            digest = digests.get(key_of(request))
            if digest is not None and (digest == "" or digest == request.digest):
                done[key_of(request)] = Copied(IN_PLACE, request.size or 0, checksum=request.digest).entry(request)
            elif self.locations.same_storage(ref, host):
                inside.append(request)
            else:
                groups.setdefault((ref.deployment, ref.location), []).append(request)
        work = [self._group(host, group, digests) for group in groups.values()]
        work += [self._fetch(host, request) for request in urls]
        if inside:
            work.append(self._link(host, inside))
        try:
            for result in await gather_all(*work):
                done.update(result)
        except HybridError:
            metrics.count(table.TRANSFERS_FAILED, 1, deployment=host.deployment)
            raise
        _count_moved(host.deployment, done.values())
        return done

    async def _probe(self, host: Host, requests: Sequence[StageRequest]) -> dict[Key, str]:
        """What is already there: key -> ``""`` (the right file, by its name) or the digest of what is there."""
        items = []
        named_ones: list[StageRequest] = []
        others: list[StageRequest] = []
        for request in requests:
            ref = request.ref
            named = is_content_addressed(request.path, request.digest) or (
                ref is not None and self.locations.same_storage(ref, host) and ref.path == request.path
            )
            if named and request.kind == "f":
                named_ones.append(request)
            else:
                others.append(request)
                items.append((request.path, request.kind, not named))
        present = await self._right_copies(host, named_ones)
        if not others:
            return present
        with answers_up_to(answer_bytes(len(items), PATH_BYTES)):
            result = await host.run(scripts.exists(items), timeout_s=LOOK_TIMEOUT_S, label="probe of copies")
        try:
            digests = scripts.parse_exists(result.out, len(items))
        except ValueError as error:
            raise CommandError(f"the probe of copies failed ({error})", result.end) from None
        probed = {key_of(request): state for request, state in zip(others, digests, strict=True) if state is not None}
        return {**present, **probed}

    async def _right_copies(self, host: Host, requests: Sequence[StageRequest]) -> dict[Key, str]:
        """Existing copies whose content matches their names. Others count as absent, and are made again."""
        recorded = [Recorded(request.path, "f", request.size, request.checksum) for request in requests]
        wrong = await differences(host, recorded) if recorded else {}
        for path, problem in wrong.items():
            if problem != GONE:
                log.warning("%s: the copy %s %s: it is made again", host.title, path, problem)
        return {key_of(request): "" for request in requests if request.path not in wrong}

    async def check_in_place(self, requests: Sequence[StageRequest], since: float | None = None) -> None:
        """Check that files that are used in place still match their records.

        :param requests: of one location; their sources are in its storage.
        :param since: see :func:`airflow_hybrid.sites.files.unchanged.differences`.
        :raises TransferError: one is gone or was changed.
        :raises SiteError: the location cannot be asked.
        """
        if not requests:
            return
        host = requests[0].host
        recorded = [
            Recorded(request.ref.path, request.kind, request.size, request.checksum)
            for request in requests
            if request.ref is not None
        ]
        wrong = await differences(host, recorded, since)
        problems = [
            (request, wrong[request.ref.path])
            for request in requests
            if request.ref is not None and request.ref.path in wrong
        ]
        if problems:
            raise unlike(problems, host)

    # --- inside a location -------------------------------------------------------------------------------------------

    async def _link(self, host: Host, requests: Sequence[StageRequest]) -> dict[Key, LineageEntry]:
        started = time.monotonic()
        await self.check_in_place([replace(request, host=host) for request in requests])
        pairs = [(request.ref.path, request.path) for request in requests if request.ref is not None]
        with answers_up_to(answer_bytes(len(pairs), PATH_BYTES)):
            result = await host.run(link_files(pairs, transfer_id()), label="link of inputs")
        states = result.out.split()
        done: dict[Key, LineageEntry] = {}
        for request, state in zip(requests, [*states, *["bad"] * len(requests)], strict=False):
            if state == "gone":
                raise gone([request], host)
            if state == "link":
                raise TransferError(f"{request.source} {A_LINK}", where=host.title, retryable=False)
            if state != "ok":
                result.check("cannot link an input")
                complaint = result.err.strip()
                raise TransferError(f"cannot link {request.source} to {request.path}: {complaint}", where=host.title)
            seconds = time.monotonic() - started
            done[key_of(request)] = Copied("link", request.size or 0, seconds, request.digest).entry(request)
        return done

    # --- between locations -------------------------------------------------------------------------------------------

    async def _group(
        self, host: Host, requests: Sequence[StageRequest], digests: Mapping[Key, str]
    ) -> dict[Key, LineageEntry]:
        """Bring all files of one source location to the host."""
        ref = requests[0].ref
        assert ref is not None
        source = await self.locations.host_of(ref)
        carrier = Carrier(source, host, self.locations.links(), _WAYS.get("", KnownWays))
        moves = await carrier.look(requests)
        done: dict[Key, LineageEntry] = {}
        missing = []
        for move in moves:
            if digests.get(key_of(move.request)) == move.digest:
                done[key_of(move.request)] = Copied(IN_PLACE, move.size, checksum=checksum_of(move)).entry(move.request)
            else:
                missing.append(move)
        async with _slots(source, host):
            for stream in streams(missing):
                with under_way(source.title, host.title, [move.size for move in stream]):
                    done.update(await carrier.carry(stream))
        return done

    # --- from the web ------------------------------------------------------------------------------------------------

    async def _fetch(self, host: Host, request: StageRequest) -> dict[Key, LineageEntry]:
        started = time.monotonic()
        if request.kind == "d":
            raise TransferError(f"{request.source}: a directory cannot be fetched from the web", retryable=False)
        async with _slots(host):
            with under_way(request.source, host.title, [request.size or 0]):
                route, size, digest = await web.fetch(host, request.source, request.path, request.digest, transfer_id())
        seconds = time.monotonic() - started
        return {key_of(request): Copied(route, size, seconds, digest).entry(request)}


def _count_moved(deployment: str, entries: Iterable[LineageEntry]) -> None:
    moved: dict[str, list[LineageEntry]] = {}
    for entry in entries:
        if entry.route != IN_PLACE:
            moved.setdefault(entry.route, []).append(entry)
    for route, some in sorted(moved.items()):
        metrics.count(table.BYTES_MOVED, sum(entry.bytes for entry in some), deployment=deployment, route=route)
        metrics.count(table.FILES_MOVED, len(some), deployment=deployment, route=route)
        seconds = sum(entry.seconds for entry in some)
        metrics.time(table.TRANSFER_TIME, seconds, deployment=deployment, route=route)


@contextlib.asynccontextmanager
async def _slots(*hosts: Host) -> AsyncIterator[None]:
    """A turn at each location. Turns are always taken in the same order, so that opposite streams cannot deadlock."""
    async with contextlib.AsyncExitStack() as stack:
        for key in sorted({(host.deployment, host.key) for host in hosts}):
            await stack.enter_async_context(_TURNS.get(key, _new_turns))
        yield


def _new_turns() -> asyncio.Semaphore:
    return asyncio.Semaphore(settings.current().transfers_at_a_time)
