# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Watches of files, as Airflow's triggerer runs them: by its shared streams, with an acknowledgement of each event."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.errors import ConfigError, HostUnreachableError
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.triggers import file_watch
from airflow_hybrid.triggers.file_watch import SiteFileTrigger

DOCUMENT = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: 'true'
inputs: []
outputs: []
"""


class Store:
    """The states of one asset, as Airflow keeps them."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._by_name = {"asset": self}
        self._by_uri: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return json.loads(self.values.get(key, "null"))

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


class Triggerer:
    """Runs watches as Airflow's triggerer does. ``persists``: whether it writes events into its database."""

    def __init__(self) -> None:
        self.manager = SharedStreamManager(log=structlog.get_logger())
        self.events: dict[int, list[TriggerEvent]] = {}
        self.persists = True
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, trigger: SiteFileTrigger, store: Store) -> int:
        number = len(self.tasks)
        self.events[number] = []
        # what the triggerer makes of what is in the database
        again = SiteFileTrigger(**json.loads(json.dumps(trigger.serialize()[1])))
        again.asset_state_store = store  # type: ignore[assignment]
        self.tasks.append(asyncio.create_task(self._run(number, again)))
        return number

    async def _run(self, number: int, trigger: BaseEventTrigger) -> None:
        key = trigger.shared_stream_key()
        assert key is not None
        stream = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                sequence = self.manager.bind_pending_event(trigger_id=number, key=key)
                self.events[number].append(event)
                if self.persists and sequence is not None:
                    asyncio.get_running_loop().call_later(0.05, self.manager.confirm_persisted, [sequence])
        finally:
            await self.manager.unsubscribe(number, key)

    def names(self, number: int) -> list[str]:
        return [event.payload["basename"] for event in self.events[number]]

    async def told(self, number: int, *names: str) -> None:
        """Wait until these files were told of."""
        for _ in range(200):
            if len(self.events[number]) >= len(names):
                break
            await asyncio.sleep(0.05)
        assert sorted(self.names(number)) == sorted(names)

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.manager.stop_all()


@contextlib.asynccontextmanager
async def triggerer() -> AsyncIterator[Triggerer]:
    made = Triggerer()
    try:
        yield made
    finally:
        await made.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "SHORTEST_INTERVAL_S", 0.05)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were run at the site."""
    seen: list[str] = []
    start = LocalHost._start

    async def counted(self: LocalHost, command: str) -> Any:
        seen.append(command)
        return await start(self, command)

    monkeypatch.setattr(LocalHost, "_start", counted)
    return seen


def site(folder: Path) -> dict[str, Any]:
    return {"left": {"type": "local", "config": {}, "workdir": str(folder)}}


def watch(folder: Path, path: str, **options: Any) -> SiteFileTrigger:
    return SiteFileTrigger("left", path, site(folder), **{"settle_s": 0.0, "interval_s": 0.1, **options})


async def test_a_file_that_appears_is_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "old.csv").write_text("old")
    async with triggerer() as running:
        number = running.start(watch(tmp_path, "in/*.csv"), Store())
        await asyncio.sleep(0.8)
        (tmp_path / "in" / "a b.csv").write_text("new")
        await running.told(number, "a b.csv")
        await asyncio.sleep(0.4)
        await running.told(number, "a b.csv")
    payload = running.events[number][0].payload
    assert payload["location"] == f"hybrid://left/localhost{tmp_path}/in/a%20b.csv"
    assert (payload["size"], payload["deployment"]) == (3, "left")


async def test_all_watches_of_a_site_share_a_look(tmp_path: Path, commands: list[str]) -> None:
    async with triggerer() as running:
        numbers = [running.start(watch(tmp_path, f"{n}-*.csv", existing=True), Store()) for n in range(20)]
        await asyncio.sleep(0.5)
        before, started = len(commands), time.monotonic()
        for n in numbers:
            (tmp_path / f"{n}-x.csv").write_text("")
        for n in numbers:
            await running.told(n, f"{n}-x.csv")
        while len(commands) < before + 5:
            await asyncio.sleep(0.1)
        looks, seconds = len(commands) - before, time.monotonic() - started
    assert looks <= seconds / 0.1 + 2  # 20 watches with looks of their own would have made twenty times as many


async def test_nothing_is_lost_nor_told_twice_when_the_triggerer_is_started_again(tmp_path: Path) -> None:
    store = Store()
    trigger = watch(tmp_path, "*.csv", existing=True)
    (tmp_path / "1.csv").write_text("1")
    async with triggerer() as first:
        await first.told(first.start(trigger, store), "1.csv")
        await asyncio.sleep(0.5)  # confirmed, and written down
    (tmp_path / "2.csv").write_text("2")
    async with triggerer() as second:
        await second.told(second.start(trigger, store), "2.csv")
        await asyncio.sleep(0.5)
        await second.told(0, "2.csv")


async def test_an_event_that_did_not_reach_the_database_is_told_again(tmp_path: Path) -> None:
    store = Store()
    trigger = watch(tmp_path, "*.csv", existing=True)
    (tmp_path / "1.csv").write_text("1")
    async with triggerer() as first:
        first.persists = False
        await first.told(first.start(trigger, store), "1.csv")
        await asyncio.sleep(0.5)
    async with triggerer() as second:
        await second.told(second.start(trigger, store), "1.csv")


async def test_a_file_is_told_of_when_its_marker_is_there(tmp_path: Path) -> None:
    async with triggerer() as running:
        number = running.start(watch(tmp_path, "*", marker="{name}.done", settle_s=3600.0, existing=True), Store())
        (tmp_path / "a.csv").write_text("")
        await asyncio.sleep(0.6)
        assert running.names(number) == []
        (tmp_path / "a.csv.done").write_text("")
        await running.told(number, "a.csv")


async def test_a_site_that_does_not_answer_is_asked_again(
    tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, failures = LocalHost._start, [1, 2]

    async def failing(self: LocalHost, command: str) -> Any:
        if failures:
            failures.pop()
            raise HostUnreachableError("connection refused\x1b[2J", where="left")
        return await start(self, command)

    monkeypatch.setattr(LocalHost, "_start", failing)
    (tmp_path / "1.csv").write_text("1")
    with caplog.at_level("INFO", logger=file_watch.__name__):
        async with triggerer() as running:
            await running.told(running.start(watch(tmp_path, str(tmp_path / "*.csv"), existing=True), Store()), "1.csv")
    messages = [record.getMessage() for record in caplog.records if record.name == file_watch.__name__]
    assert messages == [
        "left: files cannot be watched for: left: connection refused\\x1b[2J",
        "left: files are watched for again",
    ]


async def test_a_watch_runs_alone_where_airflow_shares_nothing(tmp_path: Path) -> None:
    trigger = watch(tmp_path, "*.csv", existing=True)
    store = Store()
    trigger.asset_state_store = store  # type: ignore[assignment]
    (tmp_path / "1.csv").write_text("1")
    events = trigger.run()
    assert (await asyncio.wait_for(anext(events), 20)).payload["basename"] == "1.csv"
    (tmp_path / "2.csv").write_text("1")
    assert (await asyncio.wait_for(anext(events), 20)).payload["basename"] == "2.csv"
    assert len(next(iter(store.values.values()))) > 30
    await events.aclose()  # type: ignore[attr-defined]


# --- in DAG files ---------------------------------------------------------------------------------------------------


def test_a_hybrid_file_names_files_that_start_runs(tmp_path: Path) -> None:
    (tmp_path / "main.cwl").write_text(DOCUMENT)
    (tmp_path / "flow.yml").write_text(
        "version: v1.0\n"
        "workflows:\n"
        "  flow:\n"
        "    type: cwl\n"
        "    config: {file: main.cwl}\n"
        "    dag:\n"
        "      schedule:\n"
        "        - s3://bucket/other\n"
        "        - {files: 'incoming/*.csv', deployment: left, settle: 2m, interval: 10s}\n"
        "        - {files: /data/x, deployment: left, marker: _SUCCESS, name: readings}\n"
        "deployments:\n"
        "  left: {type: local, config: {}, workdir: /data/left}\n"
    )
    namespace: dict[str, Any] = {"__file__": str(tmp_path / "dag.py")}
    (dag,) = load_dags("flow.yml", namespace)
    schedule: Any = dag.schedule
    _, first, second = schedule
    trigger: Any = first.watchers[0].trigger
    assert first.name.startswith("files/left/incoming/_.csv/") and second.name == "readings"
    assert (trigger.path, trigger.settle_s, trigger.interval_s, trigger.existing) == (
        "incoming/*.csv",
        120.0,
        10.0,
        False,
    )
    assert trigger.deployments["left"].workdir == "/data/left"
    (again,) = load_dags("flow.yml", dict(namespace))
    schedule = again.schedule
    assert schedule[1].name == first.name


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"files": "*", "deployment": "no"},
            "`schedule`: there is no deployment 'no' to watch files at\n  -> there are: left, local, person, pod",
        ),
        (
            {"files": "*", "deployment": "person"},
            "`schedule`: files cannot be watched for at deployment 'person': its account is that of a run's user\n"
            "  -> watch by a deployment with an account of its own",
        ),
        (
            {"files": "*", "deployment": "pod"},
            "`schedule`: files cannot be watched for at deployment 'pod': it is deployed for each run\n"
            "  -> watch at an `external` one",
        ),
        (
            {"files": "~/x", "deployment": "left"},
            "`schedule`: `path`: ~/x begins with `~`\n"
            "  -> write it relative to the deployment's `workdir`, which may begin with `~`",
        ),
        (
            {"files": "x", "deployment": "left", "interval": 0.0},
            "`schedule`: `interval_s` is 0.0\n  -> give seconds, from 0.05 to 604800",
        ),
    ],
)
def test_what_cannot_be_watched_is_said_when_the_dag_is_read(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    (tmp_path / "main.cwl").write_text(DOCUMENT)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    deployments = {
        **site(tmp_path),
        "person": {"type": "ssh", "config": {"conn_id": "cluster_{{ triggering_user }}"}},
        "pod": {"type": "docker-compose", "config": {"files": [str(tmp_path / "compose.yml")]}},
    }
    with pytest.raises(ConfigError) as error:
        HybridDag(tmp_path / "main.cwl", deployments=deployments, schedule=[entry])
    assert str(error.value).partition("`schedule`")[1:] == message.partition("`schedule`")[1:]


def test_deployments_are_those_of_a_hybrid_file_or_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "flow.yml"
    file.write_text(
        "version: v1.0\nworkflows: {}\ndeployments: {left: {type: local, config: {}, workdir: /data/left}}\n"
    )
    by_file = SiteFileTrigger("left", "*", file)
    assert by_file.shared_stream_key() == SiteFileTrigger("left", "x", site(Path("/data/left"))).shared_stream_key()
    with pytest.raises(ConfigError, match="is not an absolute path"):
        SiteFileTrigger("left", "*", "flow.yml")


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [(0.0, "1970-01-01T00:00:00+00:00"), (253402300800.0, None), (-99999999999.0, None), (1e300, None)],
)
def test_a_time_that_no_calendar_has_ends_no_watch(seconds: float, moment: str | None) -> None:
    assert file_watch._moment(seconds) == moment
