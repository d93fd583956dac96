# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Transfers files between two locations: examines them, divides them into streams, sends, checks, and retries."""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_hybrid import settings
from airflow_hybrid.amounts import counted
from airflow_hybrid.config import Link
from airflow_hybrid.errors import CommandError, HybridError, SiteError, TransferError
from airflow_hybrid.model import LineageEntry
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.files.links import DirectTransfer, KnownWays
from airflow_hybrid.sites.files.requests import (
    Copied,
    Key,
    Move,
    StageRequest,
    checksum_of,
    gone,
    key_of,
    transfer_id,
    unlike,
)
from airflow_hybrid.sites.files.store import incoming_root
from airflow_hybrid.sites.files.transfer import Ended, is_local, relay
from airflow_hybrid.sites.hosts.base import PATH_BYTES, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.ssh.shell import ARGUMENT_LIMIT_BYTES
from airflow_hybrid.sites.patience.backoff import Backoff

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""the pause before the second attempt is about twice this, then it doubles"""
BULK_BYTES = 4 << 20
"""larger streams go through OpenSSH: its login takes about as long as asyncssh takes for this much"""
SMALL_FILE_BYTES = 256 << 10
"""streams of files that are smaller on average are compressed, and not divided to fit a command line"""
LOOK_TIMEOUT_S = 3600.0
_RATES: dict[tuple[str, str], float] = {}
"""bytes per second by (source deployment, destination deployment), measured in this process"""


class Carrier:
    """Transfers files from ``source`` to ``host``.

    :param links: which deployments reach each other; ``ways``: what this process knows about those links.
    """

    def __init__(self, source: Host, host: Host, links: Sequence[Link], ways: KnownWays) -> None:
        self.source, self.host, self.links, self.ways = source, host, links, ways

    async def look(self, requests: Sequence[StageRequest]) -> list[Move]:
        """Examine the sources: whether they exist and, if not known yet, their sizes and digests."""
        paths = [(request.ref.path, request.digest is None) for request in requests if request.ref is not None]
        with answers_up_to(answer_bytes(len(paths), PATH_BYTES)):
            result = await self.source.run(scripts.look(paths), timeout_s=LOOK_TIMEOUT_S, label="look at inputs")
        try:
            sights = scripts.parse_look(result.stdout, len(paths))
        except ValueError as error:
            raise CommandError(f"the inputs could not be examined ({error})", result.end) from None
        missing = [request for request, sight in zip(requests, sights, strict=True) if sight.kind == "-"]
        if missing:
            raise gone(missing, self.source)
        moves = []
        for request, sight in zip(requests, sights, strict=True):
            if sight.kind != request.kind:
                complaint = result.err.strip()[-300:]
                problems = {
                    "l": "is not sent: a symbolic link has replaced it or a folder above it",
                    "x": f"cannot be read: {complaint}" if complaint else "cannot be read",
                    "f": "is a file, not a directory",
                    "d": "is a directory, not a file",
                }
                raise TransferError(
                    f"{request.source} {problems[sight.kind]}", where=self.source.title, retryable=False
                )
            digest = request.digest or sight.digest
            if not digest:
                raise TransferError(f"{request.source} cannot be read: {result.err.strip()}", where=self.source.title)
            size = request.size if request.size is not None and not sight.digest else sight.size
            moves.append(Move(request, sight.path, size, digest))
        return moves

    async def carry(self, moves: Sequence[Move]) -> dict[Key, LineageEntry]:
        """Send one stream; files that have not arrived, or arrived changed, are sent again."""
        done: dict[Key, LineageEntry] = {}
        left = list(moves)
        problem: HybridError | None = None
        backoff = Backoff(2 * PAUSE_S, math.inf, spread=0.5)
        attempts = settings.current().transfer_attempts
        for attempt in range(attempts):
            if attempt:
                await backoff.pause()
                log.warning(
                    "%s -> %s: %d of %d files are sent again: %s",
                    self.source.title,
                    self.host.title,
                    len(left),
                    len(moves),
                    problem,
                )
            started = time.monotonic()
            try:
                route, ended = await self._send(left, last=attempt == attempts - 1)
                seconds = time.monotonic() - started
                arrived, left, problem = await self._judge(left, ended)
            except SiteError as error:
                if not error.retryable or isinstance(error, TransferError):
                    raise
                problem = error
                continue
            size = sum(move.size for move in arrived)
            _measure(self.source, self.host, size, seconds)
            for move in arrived:
                share = seconds * move.size / size if size else seconds / len(arrived)
                done[key_of(move.request)] = Copied(route, move.size, share, checksum_of(move)).entry(move.request)
            if not left:
                return done
        assert problem is not None
        raise problem

    async def _send(self, moves: Sequence[Move], *, last: bool) -> tuple[str, Ended]:
        """Send once: directly if there is a way, otherwise through this machine."""
        mark, root = transfer_id(), incoming_root(moves[0].request.path)
        size = sum(move.size for move in moves)
        compress = size < SMALL_FILE_BYTES * len(moves) and size > 64 << 10 and await _have_zstd(self.source, self.host)
        send = scripts.send(list(dict.fromkeys(move.sent for move in moves)), compress=compress)
        receive = scripts.receive(root, mark, [move.item for move in moves], compressed=compress)
        with answers_up_to(answer_bytes(len(moves), PATH_BYTES)):
            if not is_local(self.source) and not is_local(self.host) and not last:
                transfer = DirectTransfer(self.source, send, self.host, receive, root)
                ended = await self.ways.carry(self.links, transfer)
                if ended is not None:
                    return "direct", ended
            ended = await relay(self.source, send, self.host, receive, bulk=size >= BULK_BYTES)
        return ("copy" if is_local(self.source) and is_local(self.host) else "relay"), ended

    async def _judge(self, moves: Sequence[Move], ended: Ended) -> tuple[list[Move], list[Move], HybridError | None]:
        """Which files have arrived, which have not, and why not.

        :raises TransferError: a new attempt would not help: the disk is full, or a source is gone or was changed.
        """
        states = scripts.parse_receive(ended.answer).states
        arrived = [move for index, move in enumerate(moves) if states.get(index) == "ok"]
        left = [move for index, move in enumerate(moves) if states.get(index) != "ok"]
        if not left:
            if ended.sender_code != 0:
                log.warning("%s: tar ended with %d: %s", self.source.title, ended.sender_code, printable(ended.words))
            return arrived, left, None
        if ended.disk_full:
            amount = counted(sum(move.size for move in left), "byte")
            raise TransferError(
                f"the disk is full at {self.host.title}: {amount} did not fit in {incoming_root(left[0].request.path)}",
                hint="free some space there, or give the deployment another `workdir`",
            )
        await self._look_again(moves, states)
        first = left[0]
        state = states.get(moves.index(first), "")
        if state.startswith("bad ") and state != "bad -":
            text = f"{first.request.source} arrived with SHA-1 {state[4:]}, not {first.digest}"
        else:
            amount = f"{len(left):,} of {counted(len(moves), 'file')}"
            text = f"{amount} did not arrive, among them {first.request.source}: {ended.words}"
        return arrived, left, TransferError(text, where=f"{self.source.title} -> {self.host.title}")

    async def _look_again(self, moves: Sequence[Move], states: Mapping[int, str]) -> None:
        """Examine the sources of files that did not arrive as expected.

        :raises TransferError: one is gone or was changed, so there is no point in sending it again.
        """
        suspects = [move for index, move in enumerate(moves) if states.get(index, "").startswith("bad")]
        sights = (
            await self.look([replace(move.request, checksum=None, size=None) for move in suspects]) if suspects else []
        )
        changed = [
            (move.request, f"has changed: its SHA-1 is {sight.digest}, not {move.digest}")
            for move, sight in zip(suspects, sights, strict=True)
            if sight.digest != move.digest
        ]
        if changed:
            raise unlike(changed, self.source)


def bytes_per_s(source: str, destination: str) -> float | None:
    """Speed between two deployments, as measured by this process; None: not measured yet."""
    return _RATES.get((source, destination))


def streams(moves: Sequence[Move]) -> list[list[Move]]:
    """Divide files into tar streams: one, but bulk data into several whose scripts fit a command line.

    Files that are sent under the same name, or that are inside a directory that is sent as well, go into another
    stream, because an item is moved out of the unpacked stream when it gets its final name. Jobs' outputs have streams
    of their own, because symbolic links in them are not followed.
    """
    groups: list[list[Move]] = []
    made_by_jobs = [move for move in moves if scripts.is_sealed(move.sent)]
    others = [move for move in moves if not scripts.is_sealed(move.sent)]
    for layer in [*_layers(made_by_jobs), *_layers(others)]:
        size = sum(move.size for move in layer)
        if size < BULK_BYTES or size < SMALL_FILE_BYTES * len(layer):
            groups.append(layer)
            continue
        room = 0
        for move in layer:
            if room < move.text_bytes:
                groups.append([])
                room = ARGUMENT_LIMIT_BYTES // 2
            groups[-1].append(move)
            room -= move.text_bytes
    return groups


def _layers(moves: Sequence[Move]) -> list[list[Move]]:
    layers: list[tuple[list[Move], set[str]]] = []
    for move in sorted(moves, key=lambda move: move.sent):
        parts = move.sent.split("/")
        above = {"/".join(parts[:count]) for count in range(2, len(parts) + 1)}
        for layer, names in layers:  # noqa: B007 - used after the loop
            if names.isdisjoint(above):
                break
        else:
            layer, names = [], set()
            layers.append((layer, names))
        layer.append(move)
        names.add(move.sent)
    return [layer for layer, _ in layers]


def _measure(source: Host, host: Host, size: int, seconds: float) -> None:
    """Note the speed of a transfer. Short ones do not count: they measure latency."""
    if size >= 1 << 20 and seconds > 0:
        pair = (source.deployment, host.deployment)
        rate = size / seconds
        _RATES[pair] = rate if pair not in _RATES else 0.7 * _RATES[pair] + 0.3 * rate


_ZSTD: weakref.WeakKeyDictionary[Host, bool] = weakref.WeakKeyDictionary()


async def _have_zstd(*hosts: Host) -> bool:
    for host in hosts:
        if host not in _ZSTD:
            _ZSTD[host] = (await host.run("command -v zstd", label="search for zstd")).exit_code == 0
    return all(_ZSTD[host] for host in hosts)
