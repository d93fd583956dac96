# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A file that appears at a site is an event of an Airflow Asset: the trigger of an ``AssetWatcher``.

All watches of a site with the same interval share one look (Airflow's shared streams). What they have told of is kept
in Airflow's store of states of the asset, and written there only when Airflow has confirmed that the event is in its
database: a triggerer that is killed in between tells of a file again rather than never.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
import posixpath
import time
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_hybrid.config import Deployment, load_hybrid_file, parse_deployments
from airflow_hybrid.config.users import has_users
from airflow_hybrid.errors import ConfigError, HybridError, LoginRefusedError
from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.model import FileRef
from airflow_hybrid.printable import printable, printable_lines, shortened
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.per_loop import PerLoop
from airflow_hybrid.sites.watching.arrivals import Arrivals, Completeness
from airflow_hybrid.sites.watching.looking import MOST_FILES, Found, SeenFile, look
from airflow_hybrid.sites.watching.patterns import check_marker, path_pattern

use_airflow_conf()

log = logging.getLogger(__name__)

SHORTEST_INTERVAL_S = 1.0
LONGEST_PAUSE_S = 300.0
"""between two looks at a site that does not answer, or refuses the login"""
_FIRST_S = 0.2
"""between two looks for watches of this process, while there is none yet"""
_LEFT_S = 5.0
"""how long a stream goes on that has no watch left: another one may come"""
_AGAIN_S = 10.0
"""between two attempts to read what was told of"""
_STATE_KEY = "airflow_hybrid.files"


class SiteFileTrigger(BaseEventTrigger):
    """Tells of files that appear at a deployment. For an :class:`airflow.sdk.AssetWatcher`.

    :param deployment: the name of the deployment.
    :param path: of the files, with ``*``, ``?`` and ``[...]``; a relative one starts at the work directory.
    :param deployments: the deployments of a hybrid file, by name (what ``deployment`` wraps has to be among them), or
        the absolute path of a hybrid file.
    :param settle_s: a file is complete when it has not changed for so long;
    :param marker: or, if given, when there is a file with this name beside it: ``_SUCCESS``, ``{name}.done``.
    :param interval_s: between two looks.
    :param existing: whether files count that were there when the watch began.
    :raises ConfigError: an argument is wrong, or runs of different people would see different files there.
    """

    def __init__(  # noqa: PLR0913 - Airflow's serialized arguments, by name
        self,
        deployment: str,
        path: str,
        deployments: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        settle_s: float = 30.0,
        marker: str | None = None,
        interval_s: float = 30.0,
        existing: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deployment = deployment
        self.path = path
        self.deployments = _chain(_deployments(deployments), deployment)
        self.settle_s = _seconds("settle_s", settle_s, 0.0)
        self.marker = marker
        self.interval_s = _seconds("interval_s", interval_s, SHORTEST_INTERVAL_S)
        self.existing = bool(existing)
        self._pattern = path_pattern(path)
        if marker is not None:
            check_marker(marker)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_hybrid.triggers.file_watch.SiteFileTrigger",
            {
                "deployment": self.deployment,
                "path": self.path,
                "deployments": {name: deployment.to_json() for name, deployment in self.deployments.items()},
                "settle_s": self.settle_s,
                "marker": self.marker,
                "interval_s": self.interval_s,
                "existing": self.existing,
            },
        )

    @property
    def arguments(self) -> str:
        """What tells this watch from others."""
        return json.dumps(self.serialize()[1], sort_keys=True, default=str)

    # --- one look for all watches of a site

    def shared_stream_key(self) -> Hashable:
        """The site and the interval: watches with the same ones share a look."""
        site = {name: deployment.to_json() for name, deployment in self.deployments.items()}
        return (_STATE_KEY, self.deployment, json.dumps(site, sort_keys=True, default=str), self.interval_s)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SiteLooks:
        """The looks that all watches of a site share.

        :param kwargs: of one of them.
        """
        return SiteLooks(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        watch = await self._watch()
        watches = _WATCHES.get(self.shared_stream_key(), dict)
        watches[watch.key] = watch
        try:
            async for arrived in shared_stream:
                if arrived.watch is not watch:
                    continue
                for file in arrived.files:
                    if watch.arrivals.tell(file):
                        yield TriggerEvent(self._payload(file, arrived.host))  # type: ignore[no-untyped-call]
        finally:
            watches.pop(watch.key, None)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch alone: where Airflow shares no stream."""
        looks = SiteLooks(self)

        async def alone() -> AsyncIterator[Any]:
            async for arrived, _ in looks.open_stream():
                yield arrived
                arrived.watch.arrivals.note(arrived.files)
                await arrived.watch.save()

        async for event in self.filter_shared_stream(alone()):
            yield event

    async def _watch(self) -> Watch:
        arrivals = Arrivals(Completeness(self.settle_s, self.marker), existing=self.existing)
        watch = Watch(self, arrivals, key=id(self))
        await watch.load()
        return watch

    def _payload(self, file: SeenFile, host: Host) -> dict[str, Any]:
        return {
            "location": FileRef(host.deployment, host.location, file.path).uri,
            "basename": printable(posixpath.basename(file.path)),
            "size": file.size,
            "modified": _moment(float(file.mtime)),
            "inode": file.inode,
            "deployment": self.deployment,
        }


def _moment(seconds: float) -> str | None:
    """A time as ISO 8601 has it; None: some file systems keep times that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


@dataclass(eq=False)
class Watch:
    """A trigger that runs in this process.

    :ivar key: of this process.
    """

    trigger: SiteFileTrigger
    arrivals: Arrivals
    key: int
    warned: bool = False

    @property
    def _state_key(self) -> str:
        return f"{_STATE_KEY}.{hashlib.sha256(self.trigger.arguments.encode()).hexdigest()[:16]}"

    def _stores(self) -> list[Any]:
        """Of the assets that are watched: one, as a rule. Airflow's own methods are for one only."""
        stores: Any = self.trigger.asset_state_store
        return [] if stores is None else [*stores._by_name.values(), *stores._by_uri.values()]

    async def load(self) -> None:
        """Go on where an earlier process has stopped: wait for what is kept, or files would be told of again."""
        for store in self._stores():
            while True:
                try:
                    self.arrivals.resume(await store.aget(self._state_key))
                    break
                except Exception:
                    log.warning("what was told of %s is not known", printable(self.trigger.path), exc_info=True)
                    await asyncio.sleep(_AGAIN_S)

    async def save(self) -> None:
        """Write down what is known to be in Airflow's database, if that has changed; if it fails, later."""
        if not self.arrivals.changed:
            return
        self.arrivals.changed = False
        value = self.arrivals.to_json()
        try:
            for store in self._stores():
                await store.aset(self._state_key, value)
        except Exception:
            self.arrivals.changed = True
            log.warning("what was told of %s is not written down yet", printable(self.trigger.path), exc_info=True)

    def take(self, found: Sequence[Found], now: float) -> list[SeenFile]:
        """The files to tell of after a look at the pattern, and at that of the markers."""
        if any(one.too_many for one in found):
            if not self.warned:
                log.error(
                    "%s: more than %d files match %s, so it cannot be known which of them are new: nothing is told of"
                    " them\n  -> move away what was processed, or watch for a narrower pattern",
                    self.trigger.deployment, MOST_FILES, printable(self.trigger.path),
                )  # fmt: skip
            self.warned = True
            return []
        self.warned = False
        markers = found[1].files if len(found) > 1 else ()
        return self.arrivals.look(found[0].files, markers, now)


@dataclass(frozen=True, eq=False)
class Arrived:
    """New files of one watch, as a look saw them."""

    watch: Watch
    files: tuple[SeenFile, ...]
    host: Host


_WATCHES: PerLoop[Hashable, dict[int, Watch]] = PerLoop()
"""the watches of a process, by site and interval"""


class SiteLooks(SharedStreamProducer):
    """Looks at a site again and again, for all of its watches in this process.

    :param trigger: one of them.
    """

    def __init__(self, trigger: SiteFileTrigger) -> None:
        self._trigger = trigger
        self._key = trigger.shared_stream_key()
        self._failures = 0

    async def open_stream(self) -> AsyncIterator[tuple[Arrived, Arrived]]:
        seen = math.inf
        while True:
            watches = list(_WATCHES.get(self._key, dict).values())
            if not watches:
                # asyncio may lose the cancellation by which the last watch ends this
                if time.monotonic() > seen + _LEFT_S:
                    return
                await asyncio.sleep(_FIRST_S)
                continue
            seen = began = time.monotonic()
            try:
                arrived = await self._look(watches)
            except HybridError as error:
                await asyncio.sleep(self._pause_after(error))
                continue
            except OSError as error:
                await asyncio.sleep(self._pause_after(HybridError(str(error))))
                continue
            if self._failures:
                log.info("%s: files are watched for again", self._trigger.deployment)
            self._failures = 0
            for new in arrived:
                yield new, new
            for watch in watches:
                await watch.save()
            await asyncio.sleep(max(0.0, began + self._trigger.interval_s - time.monotonic()))

    async def _look(self, watches: Sequence[Watch]) -> list[Arrived]:
        trigger = self._trigger
        connector = open_connector(trigger.deployments, trigger.deployment)
        hosts = await connector.hosts()
        if not hosts:
            raise ConfigError(f"deployment {trigger.deployment!r} has no location to look for files at")
        host = hosts[0]
        patterns = [watch.trigger._pattern for watch in watches]
        markers = {
            index: patterns[index].beside(watch.trigger.marker)
            for index, watch in enumerate(watches)
            if watch.trigger.marker is not None
        }
        distinct = list(dict.fromkeys([*patterns, *markers.values()]))
        workdir = await connector.workdir(host) if any(not p.folder.startswith("/") for p in distinct) else "/"
        answer = dict(zip(distinct, await look(host, distinct, workdir), strict=True))
        now = time.monotonic()
        arrived = []
        for index, watch in enumerate(watches):
            found = [answer[patterns[index]], *([answer[markers[index]]] if index in markers else [])]
            if files := watch.take(found, now):
                arrived.append(Arrived(watch, tuple(files), host))
        return arrived

    def _pause_after(self, error: HybridError) -> float:
        """Seconds until the next look; the first failure is logged."""
        if not self._failures:
            log.error("%s: files cannot be watched for: %s", self._trigger.deployment, printable_lines(str(error)))
        self._failures += 1
        if isinstance(error, LoginRefusedError):
            return LONGEST_PAUSE_S  # more attempts could get this machine banned
        return min(LONGEST_PAUSE_S, self._trigger.interval_s * 2.0 ** min(self._failures, 10))

    def get_advance_lane(self, broker_payload: Any) -> Hashable:
        return int(broker_payload.watch.key)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Airflow has the events in its database (or has failed to write them: then they are told again)."""
        for item in batch:
            arrived: Arrived = item.broker_payload
            if item.outcome.is_clean:
                arrived.watch.arrivals.note(arrived.files)
                await arrived.watch.save()


# --- arguments ------------------------------------------------------------------------------------------------------


def _deployments(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> Mapping[str, Deployment]:
    if isinstance(given, str | os.PathLike):
        if not os.path.isabs(given):
            raise ConfigError(
                f"`deployments`: {printable(os.fspath(given))} is not an absolute path",
                hint='write Path(__file__).parent / "streamflow.yml"',
            )
        return load_hybrid_file(given).deployments
    if given and all(isinstance(value, Mapping) and "name" in value for value in given.values()):
        return {name: Deployment.from_json(value) for name, value in given.items()}  # of :meth:`serialize`
    return parse_deployments(given)


def _chain(deployments: Mapping[str, Deployment], name: str) -> dict[str, Deployment]:
    """A deployment and those that it works through.

    :raises ConfigError: one of them does not exist, or differs from run to run.
    """
    chain: dict[str, Deployment] = {}
    wanted: str | None = name
    while wanted is not None and wanted not in chain:
        deployment = deployments.get(wanted)
        if deployment is None:
            known = ", ".join(sorted(deployments))
            raise ConfigError(
                f"there is no deployment {printable(shortened(str(wanted), 100))!r} to watch files at",
                hint=f"there are: {known}",
            )
        if deployment.managed:
            raise ConfigError(
                f"files cannot be watched for at deployment {wanted!r}: it is deployed for each run",
                hint="watch at an `external` one",
            )
        if has_users(deployment):
            raise ConfigError(
                f"files cannot be watched for at deployment {wanted!r}: its account is that of a run's user",
                hint="watch by a deployment with an account of its own",
            )
        chain[wanted] = deployment
        wanted = deployment.wraps
    return chain


def _seconds(name: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 7 * 86_400:
        raise ConfigError(f"`{name}` is {value!r}", hint=f"give seconds, from {least:g} to {7 * 86_400}")
    return float(value)
