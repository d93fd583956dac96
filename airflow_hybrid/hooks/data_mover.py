# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Brings files to where they are needed, by the shortest route there is.

Routes, best first: already there; link inside the location; copy inside the deployment; direct between two
deployments that have a link; relay through this machine; HTTP(S), fetched by the destination itself. A copy is made
under a temporary name, its digest is compared at the destination, and only then it gets its name, by an atomic rename.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import CommandError, ConfigError, HybridError, SiteError, TransferError
from airflow_hybrid.hooks import transfer_scripts as scripts
from airflow_hybrid.hooks import web
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.connectors import open_connector
from airflow_hybrid.hooks.links import Links
from airflow_hybrid.hooks.ssh_shell import ARGUMENT_LIMIT_BYTES
from airflow_hybrid.hooks.store import incoming_root, is_content_addressed, producer_of, sha1_of, store_path
from airflow_hybrid.hooks.transfer import Ended, is_local, relay
from airflow_hybrid.model import LOCAL_DEPLOYMENT, FileRef, LineageEntry

__all__ = ["DataMover", "StageRequest", "store_path"]

log = logging.getLogger(__name__)

ATTEMPTS = 3
BULK_BYTES = 4 << 20
"""from here on OpenSSH carries the bytes: its login costs about what asyncssh takes for these"""
SMALL_FILE_BYTES = 256 << 10
"""streams of files that are smaller on average are compressed, and are not cut to fit a command line"""
AT_A_TIME = 3
"""streams per location"""
_PROBE_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class StageRequest:
    """One file or directory that is needed at a location.

    :ivar source: ``hybrid:``, ``file:`` or ``http(s):`` URI.
    :ivar path: absolute path at ``host`` where it is wanted.
    :ivar kind: ``f`` or ``d``.
    :ivar size: bytes; None if not known.
    :ivar checksum: ``sha1$<hex>`` of a file; None if not known.
    :ivar producer: what made it, for a message when it is gone.
    """

    source: str
    host: Host
    path: str
    kind: str = "f"
    size: int | None = None
    checksum: str | None = None
    producer: str = ""

    @classmethod
    def of(cls, file: Mapping[str, Any], host: Host, path: str) -> StageRequest:
        """The request for a CWL File or Directory object."""
        kind = "d" if file.get("class") == "Directory" else "f"
        size = file.get("size")
        return cls(str(file["location"]), host, path, kind, None if size is None else int(size), file.get("checksum"))

    @property
    def ref(self) -> FileRef | None:
        """Where it is; None for a URL.

        :raises TransferError: neither.
        """
        if self.source.startswith(("http://", "https://")):
            return None
        try:
            return FileRef.parse(self.source)
        except ValueError as error:
            raise _final(TransferError(f"cannot be staged: {error}")) from None

    @property
    def digest(self) -> str | None:
        return sha1_of(self.checksum)

    @property
    def target(self) -> FileRef:
        return FileRef(self.host.deployment, self.host.location, self.path)


@dataclass(frozen=True)
class _Move:
    """A request whose source has been looked at: its real path, size and digest are known."""

    request: StageRequest
    sent: str
    size: int
    digest: str

    @property
    def item(self) -> scripts.Item:
        return scripts.Item(self.request.kind, self.sent, self.request.path, self.digest)

    @property
    def text_bytes(self) -> int:
        """About how much of a command line it takes."""
        return 2 * len(self.sent.encode(errors="surrogateescape")) + 2 * len(self.request.path.encode()) + 80


@dataclass
class _Shared:
    """What all movers of one event loop share."""

    inflight: dict[tuple[str, str, str], asyncio.Future[None]]
    slots: dict[tuple[str, str], asyncio.Semaphore]
    links: Links


_SHARED: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = weakref.WeakKeyDictionary()
_RATES: dict[tuple[str, str], float] = {}
"""bytes per second by (source deployment, destination deployment), measured in this process"""


class DataMover:
    """Moves files between the deployments of one workflow.

    :param deployments: by name.
    :param links: which deployments reach each other: :class:`airflow_hybrid.config.Link` values, or their JSON.
    """

    def __init__(self, deployments: Mapping[str, Deployment], links: Sequence[Any] | None = None) -> None:
        self.deployments = deployments
        self.links = tuple(links or ())

    # --- what is where -----------------------------------------------------------------------------------------------

    def knows(self, ref: FileRef) -> bool:
        """Whether the file is at a deployment of this workflow (or on this machine)."""
        return ref.deployment == LOCAL_DEPLOYMENT or ref.deployment in self.deployments

    def same_storage(self, ref: FileRef, host: Host) -> bool:
        """Whether ``host`` sees the file under the same path."""
        if ref.deployment != host.deployment:
            return False
        return ref.location == host.location or open_connector(self.deployments, ref.deployment).shares(ref.path)

    async def host_of(self, ref: FileRef) -> Host:
        """The location that holds the file.

        :raises ConfigError: the workflow has no such location.
        """
        if not self.knows(ref):
            raise ConfigError(f"{ref.uri} is at deployment {ref.deployment!r}, which this workflow does not have")
        connector = open_connector(self.deployments, ref.deployment)
        hosts = await connector.hosts()
        for host in hosts:
            if host.location == ref.location:
                return host
        if hosts and connector.shares(ref.path):
            return hosts[0]
        raise ConfigError(
            f"{ref.uri} is at location {ref.location!r}, which deployment {ref.deployment!r} does not have",
            hint=f"it has: {', '.join(host.location for host in hosts)}",
        )

    @staticmethod
    def bytes_per_s(source: str, destination: str) -> float | None:
        """Speed between two deployments as measured by this process; None: not yet."""
        return _RATES.get((source, destination))

    # --- staging -----------------------------------------------------------------------------------------------------

    async def stage(self, requests: Sequence[StageRequest]) -> list[LineageEntry]:
        """Make every request's file be at its path.

        Requests for one path wait for the first of this process; two processes that bring the same file do no harm.

        :returns: one entry per request, in their order.
        :raises TransferError: a file is gone, arrives changed again and again, or the disk is full.
        :raises SiteError: a location cannot be used.
        """
        entries: dict[tuple[str, str, str], LineageEntry] = {}
        waiting = {_key(request): request for request in requests}
        while waiting:
            entries.update(await self._stage_or_wait(waiting))
            waiting = {key: request for key, request in waiting.items() if key not in entries}
        seen: set[tuple[str, str, str]] = set()
        result = []
        for request in requests:
            entry = entries[_key(request)]
            result.append(replace(entry, reused=True, seconds=0.0) if _key(request) in seen else entry)
            seen.add(_key(request))
        return result

    async def _stage_or_wait(
        self, requests: Mapping[tuple[str, str, str], StageRequest]
    ) -> dict[tuple[str, str, str], LineageEntry]:
        """Stage what nobody else is staging; wait for the rest, which is then looked at again."""
        shared = _shared()
        mine = {key: request for key, request in requests.items() if key not in shared.inflight}
        others = [shared.inflight[key] for key in requests if key not in mine]
        done: dict[tuple[str, str, str], LineageEntry] = {}
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        shared.inflight.update(dict.fromkeys(mine, future))
        try:
            hosts: dict[tuple[str, str], list[StageRequest]] = {}
            for request in mine.values():
                hosts.setdefault((request.host.deployment, request.host.location), []).append(request)
            for result in await _all(*(self._stage_at(group[0].host, group) for group in hosts.values())):
                done.update(result)
        finally:
            for key in mine:
                del shared.inflight[key]
            future.set_result(None)
        if others:
            await asyncio.wait(others)
        return done

    async def _stage_at(
        self, host: Host, requests: Sequence[StageRequest]
    ) -> dict[tuple[str, str, str], LineageEntry]:
        """All requests of one location: one probe, then each group by its best route."""
        urls = [request for request in requests if request.ref is None]
        files = [request for request in requests if request.ref is not None]
        there = await self._probe(host, files) if files else {}
        done: dict[tuple[str, str, str], LineageEntry] = {}
        groups: dict[tuple[str, str], list[StageRequest]] = {}
        inside: list[StageRequest] = []
        for request in files:
            ref = request.ref
            assert ref is not None
            digest = there.get(_key(request))
            if digest is not None and (digest == "" or digest == request.digest):
                done[_key(request)] = _entry(request, "in place", request.size or 0, 0.0, request.digest, reused=True)
            elif self.same_storage(ref, host):
                inside.append(request)
            else:
                groups.setdefault((ref.deployment, ref.location), []).append(request)
        work = [self._group(host, group, there) for group in groups.values()]
        work += [self._fetch(host, request) for request in urls]
        if inside:
            work.append(self._link(host, inside))
        for result in await _all(*work):
            done.update(result)
        return done

    async def _probe(self, host: Host, requests: Sequence[StageRequest]) -> dict[tuple[str, str, str], str]:
        """What is there already: key -> ``""`` (the right one, by its name) or the digest of what is there."""
        items = []
        for request in requests:
            ref = request.ref
            named = is_content_addressed(request.path, request.digest) or (
                ref is not None and self.same_storage(ref, host) and ref.path == request.path
            )
            items.append((request.path, request.kind, not named))
        result = await host.run(scripts.exists(items), timeout_s=_PROBE_TIMEOUT_S, label="probe of copies")
        try:
            found = scripts.parse_exists(result.out, len(items))
        except ValueError as error:
            raise CommandError(
                f"the probe of copies was not answered ({error})", location=host.title, command="probe of copies",
                exit_code=result.exit_code, stderr=result.err,
            ) from None  # fmt: skip
        return {_key(request): state for request, state in zip(requests, found, strict=True) if state is not None}

    # --- inside a location -------------------------------------------------------------------------------------------

    async def _link(self, host: Host, requests: Sequence[StageRequest]) -> dict[tuple[str, str, str], LineageEntry]:
        started = time.monotonic()
        pairs = [(request.ref.path, request.path) for request in requests if request.ref is not None]
        result = await host.run(scripts.link(pairs, _token()), label="link of inputs")
        states = result.out.split()
        done: dict[tuple[str, str, str], LineageEntry] = {}
        for request, state in zip(requests, [*states, *["bad"] * len(requests)], strict=False):
            if state == "gone":
                raise _gone(request, host)
            if state != "ok":
                result.check("cannot link an input")
                raise TransferError(f"cannot link {request.source} to {request.path}: {result.err}", where=host.title)
            seconds = time.monotonic() - started
            done[_key(request)] = _entry(request, "link", request.size or 0, seconds, request.digest)
        return done

    # --- between locations -------------------------------------------------------------------------------------------

    async def _group(
        self, host: Host, requests: Sequence[StageRequest], there: Mapping[tuple[str, str, str], str]
    ) -> dict[tuple[str, str, str], LineageEntry]:
        """Everything that goes from one location to another."""
        ref = requests[0].ref
        assert ref is not None
        source = await self.host_of(ref)
        moves = await self._look(source, requests)
        done: dict[tuple[str, str, str], LineageEntry] = {}
        wanted = []
        for move in moves:
            if there.get(_key(move.request)) == move.digest:
                done[_key(move.request)] = _entry(move.request, "in place", move.size, 0.0, _sum(move), reused=True)
            else:
                wanted.append(move)
        async with _slot(source), _slot(host):
            for stream in _streams(wanted):
                done.update(await self._carry(source, host, stream))
        return done

    async def _look(self, source: Host, requests: Sequence[StageRequest]) -> list[_Move]:
        """Look at the sources: are they there, and (where not known yet) how big, and what digest."""
        paths = [(request.ref.path, request.digest is None) for request in requests if request.ref is not None]
        result = await source.run(scripts.look(paths), timeout_s=_PROBE_TIMEOUT_S, label="look at inputs")
        try:
            sights = scripts.parse_look(result.stdout, len(paths))
        except ValueError as error:
            raise CommandError(
                f"the look at inputs was not answered ({error})", location=source.title, command="look at inputs",
                exit_code=result.exit_code, stderr=result.err,
            ) from None  # fmt: skip
        moves = []
        for request, sight in zip(requests, sights, strict=True):
            if sight.kind == "-":
                raise _gone(request, source)
            if sight.kind != request.kind:
                what = {"x": "cannot be read", "f": "is a file, not a directory", "d": "is a directory, not a file"}
                raise _final(TransferError(f"{request.source} {what[sight.kind]}", where=source.title))
            digest = request.digest or sight.digest
            if not digest:
                raise TransferError(f"{request.source} cannot be read: {result.err.strip()}", where=source.title)
            size = request.size if request.size is not None and not sight.digest else sight.size
            moves.append(_Move(request, sight.path, size, digest))
        return moves

    async def _carry(
        self, source: Host, host: Host, moves: Sequence[_Move]
    ) -> dict[tuple[str, str, str], LineageEntry]:
        """One stream, tried again (for what has not arrived yet) when it breaks or arrives changed."""
        done: dict[tuple[str, str, str], LineageEntry] = {}
        left = list(moves)
        problem: HybridError | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0.5, 1.5) * 2**attempt)
                log.warning("%s -> %s: %d of %d files again: %s", source.title, host.title, len(left), len(moves), problem)
            started = time.monotonic()
            try:
                route, ended = await self._send(source, host, left, last=attempt == ATTEMPTS - 1)
            except SiteError as error:
                if not error.retryable:
                    raise
                problem = error
                continue
            seconds = time.monotonic() - started
            arrived, left, problem = await self._judge(source, host, left, ended)
            size = sum(move.size for move in arrived)
            _measure(source, host, size, seconds)
            for move in arrived:
                share = seconds * move.size / size if size else seconds / len(arrived)
                done[_key(move.request)] = _entry(move.request, route, move.size, share, _sum(move))
            if not left:
                return done
        assert problem is not None
        raise problem

    async def _send(self, source: Host, host: Host, moves: Sequence[_Move], *, last: bool) -> tuple[str, Ended]:
        """Send once: direct where there is a way, else through this machine."""
        token, root = _token(), incoming_root(moves[0].request.path)
        size = sum(move.size for move in moves)
        compress = size < SMALL_FILE_BYTES * len(moves) and size > 64 << 10 and await _have_zstd(source, host)
        send = scripts.send(list(dict.fromkeys(move.sent for move in moves)), compress=compress)
        receive = scripts.receive(root, token, [move.item for move in moves], compressed=compress)
        if not is_local(source) and not is_local(host) and not last:
            ended = await _shared().links.carry(self.links, source, host, send, receive, root)
            if ended is not None:
                return "direct", ended
        ended = await relay(source, send, host, receive, bulk=size >= BULK_BYTES)
        return ("copy" if is_local(source) and is_local(host) else "relay"), ended

    async def _judge(
        self, source: Host, host: Host, moves: Sequence[_Move], ended: Ended
    ) -> tuple[list[_Move], list[_Move], HybridError | None]:
        """What has arrived, what has not, and why not.

        :raises TransferError: what trying again will not mend: full disk, source gone or changed for good.
        """
        states = scripts.parse_receive(ended.answer).states
        arrived = [move for index, move in enumerate(moves) if states.get(index) == "ok"]
        left = [move for index, move in enumerate(moves) if states.get(index) != "ok"]
        if not left:
            if ended.sender_code != 0:
                log.warning("%s: tar ended with %d: %s", source.title, ended.sender_code, ended.words)
            return arrived, left, None
        if ended.disk_full:
            raise TransferError(
                f"the disk is full at {host.title}: {sum(move.size for move in left)} bytes did not fit in"
                f" {incoming_root(left[0].request.path)}",
                hint="free some space there, or give the deployment another workdir",
            )
        await self._look(source, [move.request for move in left if states.get(moves.index(move), "bad").startswith("bad")])
        first = left[0]
        state = states.get(moves.index(first))
        if state is not None and state.startswith("bad ") and state != "bad -":
            text = f"{first.request.source} arrived with SHA-1 {state[4:]}, not {first.digest}"
            hint = "the file was changed after it was produced, or a disk or network damages data"
        else:
            text = f"{len(left)} of {len(moves)} files did not arrive, among them {first.request.source}: {ended.words}"
            hint = None
        return arrived, left, TransferError(text, where=f"{source.title} -> {host.title}", hint=hint)

    # --- from the web ------------------------------------------------------------------------------------------------

    async def _fetch(self, host: Host, request: StageRequest) -> dict[tuple[str, str, str], LineageEntry]:
        started = time.monotonic()
        if request.kind == "d":
            raise _final(TransferError(f"{request.source}: a directory cannot be fetched from the web"))
        async with _slot(host):
            route, size, digest = await web.fetch(host, request.source, request.path, request.digest, _token())
        seconds = time.monotonic() - started
        reused = route == "in place"
        return {_key(request): _entry(request, route, size, seconds, f"sha1${digest}", reused=reused)}


# --- values ----------------------------------------------------------------------------------------------------------


def _key(request: StageRequest) -> tuple[str, str, str]:
    return (request.host.deployment, request.host.location, request.path)


def _entry(
    request: StageRequest, route: str, size: int, seconds: float, checksum: str | None, *, reused: bool = False
) -> LineageEntry:
    if checksum is not None and not checksum.startswith("sha1$"):
        checksum = f"sha1${checksum}"
    return LineageEntry(request.source, request.target.uri, route, size, round(seconds, 3), checksum, reused)


def _sum(move: _Move) -> str | None:
    """The checksum of a file; the digest of a tree is no checksum in CWL's sense."""
    return move.digest if move.request.kind == "f" else None


def _token() -> str:
    return secrets.token_hex(8)


def _final(error: TransferError) -> TransferError:
    """An error that another try would meet again."""
    error.retryable = False
    return error


def _gone(request: StageRequest, host: Host) -> TransferError:
    producer = request.producer or (producer_of(request.ref.path) if request.ref else None)
    hint = f"it was made by {producer}: clear that task, and it is made again" if producer else None
    return _final(TransferError(f"{request.source} is not there any more", where=host.title, hint=hint))


def _streams(moves: Sequence[_Move]) -> list[list[_Move]]:
    """Cut a group into tar streams: one, except that bulk goes in pieces whose scripts fit a command line."""
    size = sum(move.size for move in moves)
    if not moves:
        return []
    if size < BULK_BYTES or size < SMALL_FILE_BYTES * len(moves):
        return [list(moves)]
    streams: list[list[_Move]] = [[]]
    room = ARGUMENT_LIMIT_BYTES // 2
    for move in moves:
        if streams[-1] and room < move.text_bytes:
            streams.append([])
            room = ARGUMENT_LIMIT_BYTES // 2
        streams[-1].append(move)
        room -= move.text_bytes
    return streams


def _measure(source: Host, host: Host, size: int, seconds: float) -> None:
    """Short transfers tell about latency, not about speed."""
    if size >= 1 << 20 and seconds > 0:
        pair = (source.deployment, host.deployment)
        rate = size / seconds
        _RATES[pair] = rate if pair not in _RATES else 0.7 * _RATES[pair] + 0.3 * rate


# --- what the movers of an event loop share ----------------------------------------------------------------------------


def _shared() -> _Shared:
    loop = asyncio.get_running_loop()
    if loop not in _SHARED:
        _SHARED[loop] = _Shared({}, {}, Links())
    return _SHARED[loop]


def _slot(host: Host) -> asyncio.Semaphore:
    return _shared().slots.setdefault((host.deployment, host.location), asyncio.Semaphore(AT_A_TIME))


_ZSTD: weakref.WeakKeyDictionary[Host, bool] = weakref.WeakKeyDictionary()


async def _have_zstd(*hosts: Host) -> bool:
    for host in hosts:
        if host not in _ZSTD:
            _ZSTD[host] = (await host.run("command -v zstd", label="search for zstd")).exit_code == 0
    return all(_ZSTD[host] for host in hosts)


async def _all(*work: Any) -> list[Any]:
    """Wait for all, then raise the first error: one bad route does not stop the others midway."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
