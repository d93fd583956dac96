# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Direct transfers between two deployments that reach each other by their own ssh."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_hybrid.config import Link
from airflow_hybrid.errors import SiteError
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.files.transfer import Ended, Way, pull, push, trial
from airflow_hybrid.sites.hosts.base import Host

log = logging.getLogger(__name__)

BROKEN_FOR_S = 300.0
"""how long a way that failed is not tried again"""


@dataclass(frozen=True)
class DirectTransfer:
    """A transfer from one location directly to another.

    :ivar send: shell text for the source; ``receive``: for the destination.
    :ivar folder: folder at the destination for a note, with which a way is tested.
    """

    source: Host
    send: str
    destination: Host
    receive: str
    folder: str


class KnownWays:
    """The ways that this process has tried, and whether they worked."""

    def __init__(self) -> None:
        self._good: set[tuple[str, str, Way]] = set()
        self._broken_until: dict[tuple[str, str, Way], float] = {}

    async def carry(self, links: Sequence[Link], transfer: DirectTransfer) -> Ended | None:
        """Send directly, by the first way that works; None if there is none.

        A way to the destination is used only after a test has shown that it leads to the destination's own files. A way
        to the source needs no test, because files from elsewhere would have other digests.
        """
        for way, pushed in ways(links, transfer.source, transfer.destination):
            key = (transfer.source.key, transfer.destination.key, way)
            if time.monotonic() < self._broken_until.get(key, 0.0):
                continue
            try:
                if pushed:
                    await self._trust(key, transfer)
                    await transfer.destination.take_turn()
                    ended = await push(transfer.source, transfer.send, way, transfer.receive)
                else:
                    await transfer.source.take_turn()
                    ended = await pull(way, transfer.send, transfer.destination, transfer.receive)
            except SiteError as error:
                self._broken(key, transfer, error.message)
                continue
            if ended is None:
                return None
            states = scripts.parse_receive(ended.answer).states.values()
            if "ok" in states or ended.disk_full:
                return ended
            self._broken(key, transfer, ended.words)
        return None

    async def _trust(self, key: tuple[str, str, Way], transfer: DirectTransfer) -> None:
        """:raises SiteError: the test does not show that the way leads to the destination's own files."""
        if key in self._good:
            return
        note = secrets.token_hex(8)
        problem = await trial(transfer.source, key[2], transfer.destination, transfer.folder, note)
        if problem:
            raise SiteError(problem)
        self._good.add(key)

    def _broken(self, key: tuple[str, str, Way], transfer: DirectTransfer, why: str) -> None:
        self._good.discard(key)
        self._broken_until[key] = time.monotonic() + BROKEN_FOR_S
        log.warning(
            "the link %s -> %s (`%s`) does not work; data goes through this machine: %s",
            transfer.source.title, transfer.destination.title, " ".join(key[2].argv[-2:]), why.strip()[-300:],
        )  # fmt: skip


def ways(links: Sequence[Link], source: Host, destination: Host) -> Iterator[tuple[Way, bool]]:
    """Ways that the hybrid file names between two locations: from the source (True) or the destination (False)."""
    for link in links:
        ends = (link.source, link.target)
        if ends == (source.deployment, destination.deployment):
            target, pushed = destination, True
        elif ends == (destination.deployment, source.deployment):
            target, pushed = source, False
        else:
            continue
        address = link.address or target.public_address
        if address and not address.startswith("-"):
            yield Way.to(address, link.identity), pushed
