# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Metrics as a StatsD server gets them, through Airflow's own client."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics import stats as backend
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger
from airflow.sdk.observability import stats
from airflow.utils.net import get_hostname

from airflow_hybrid import metrics
from airflow_hybrid.engine import FragmentExecution, FragmentSpec, TaskIdentity
from airflow_hybrid.installation import stats as send
from airflow_hybrid.metrics import reference, table
from airflow_hybrid.metrics.batches import BatchMeter
from airflow_hybrid.sites.batches.poller import Progress
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.hosts.ssh.client import Client
from airflow_hybrid.sites.hosts.ssh.login import Login
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from tests.unit.engine.execution import Log, run_spec, spec_of

ROOT = Path(__file__).parents[3]
HOST = stats.normalize_name_for_stats(str(get_hostname()), log_warning=False).replace(".", "__")  # type: ignore[no-untyped-call]
DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {code: "int[]", text: File}
outputs: []
steps:
  exits:
    scatter: code
    in: {code: code, text: text}
    out: []
    run:
      class: CommandLineTool
      inputs: {code: {type: int, inputBinding: {position: 2}}, text: File}
      outputs: []
      temporaryFailCodes: [1, 2]
      baseCommand: [sh, -c, 'test ! -e $0 || exit $1']
      arguments: [{valueFrom: '/MARK', position: 1}]
"""


class Server:
    """A StatsD server: what came, without what differs from run to run."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def received(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                lines.append(self.socket.recv(10_000, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return [re.sub(r":[\d.]+\|ms$", ":_|ms", line) for line in lines]


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Airflow's metrics go there; only this package's are let through."""
    server = Server()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.port))
    monkeypatch.setenv("AIRFLOW__METRICS__METRICS_ALLOW_LIST", "hybrid")
    monkeypatch.setattr(send, "_prepared", False)
    yield server
    metrics.send_to(None)
    client: Any = backend._backend
    if isinstance(client, SafeStatsdLogger):
        client.statsd.close()
    stats.initialize(factory=NoStatsLogger, export_legacy_names=True)
    server.socket.close()


class Task:
    """A step of jobs that end with the given exit codes as long as there is a file ``mark``."""

    def __init__(self, folder: Path, codes: list[int]) -> None:
        self.mark = folder / "mark"
        self.mark.write_text("")
        (folder / "text").write_text("twelve bytes")
        document = folder / "exits.cwl"
        document.write_text(DOCUMENT.replace("/MARK", str(self.mark)))
        text = {"class": "File", "location": f"file://{folder}/text"}
        sites = {"gpu.site": {"type": "local", "config": {}, "workdir": str(folder / "site")}}
        identity = TaskIdentity("dag", "run", "exits", try_number=1, origin="origin")
        given = {"code": codes, "text": text}
        spec = spec_of(document, given, sites, {"/exits": {"target": "gpu.site"}}, identity)
        self.spec = replace(spec, reuse=False)

    def attempt(self, number: int) -> FragmentSpec:
        return replace(self.spec, identity=replace(self.spec.identity, try_number=number))


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))


def both(name: str, value: str, *values: str) -> list[str]:
    """A metric under its two names."""
    return [f"airflow.hybrid.{'.'.join((name, *values))}:{value}", f"airflow.hybrid.{name}:{value}"]


def test_a_batch_of_jobs_and_a_retry_of_the_failed_ones(tmp_path: Path, statsd: Server) -> None:
    send.send_metrics(gauges=False)
    task = Task(tmp_path, [0, 1, 2])
    with pytest.raises(Exception, match="2 of 3 jobs failed"):
        run_spec(replace(task.attempt(1), retries=1))
    assert statsd.received() == [
        *both("files.bytes", "12|c", "gpu__site", "copy"),
        *both("files.moved", "1|c", "gpu__site", "copy"),
        *both("files.transfer_time", "_|ms", "gpu__site", "copy"),
        *both("jobs.submitted", "3|c", "gpu__site"),
        *both("jobs.queue_wait", "_|ms", "gpu__site"),
        *both("jobs.ended", "2|c", "gpu__site", "failed"),
        *both("jobs.ended", "1|c", "gpu__site", "success"),
    ]
    task.mark.unlink()
    run_spec(replace(task.attempt(2), retries=1))
    assert statsd.received() == [
        *both("jobs.recovered", "3|c", "gpu__site", "reattached"),
        *both("jobs.recovered", "2|c", "gpu__site", "failed_tried_again"),
        *both("jobs.submitted", "2|c", "gpu__site"),
        *both("jobs.queue_wait", "_|ms", "gpu__site"),
        *both("jobs.ended", "2|c", "gpu__site", "success"),
    ]


def test_files_that_cannot_be_brought(tmp_path: Path, statsd: Server) -> None:
    send.send_metrics(gauges=False)
    task = Task(tmp_path, [0])
    (tmp_path / "text").unlink()
    with pytest.raises(Exception, match="text"):
        run_spec(task.spec)
    assert statsd.received() == both("files.transfers_failed", "1|c", "gpu__site")


def test_what_is_sent_does_not_grow_with_the_jobs(tmp_path: Path, statsd: Server) -> None:
    send.send_metrics(gauges=False)
    run_spec(Task(tmp_path, [0] * 100).spec)
    assert statsd.received() == [
        *both("files.bytes", "12|c", "gpu__site", "copy"),
        *both("files.moved", "1|c", "gpu__site", "copy"),
        *both("files.transfer_time", "_|ms", "gpu__site", "copy"),
        *both("jobs.submitted", "100|c", "gpu__site"),
        *both("jobs.queue_wait", "_|ms", "gpu__site"),
        *both("jobs.ended", "100|c", "gpu__site", "success"),
    ]


def test_gauges_of_a_triggerer_are_sums_of_its_batches(statsd: Server) -> None:
    send.send_metrics(gauges=True)
    one, other = BatchMeter("gpu", submitted=True), BatchMeter("gpu", submitted=False)
    one.tell(Progress(total=5, finished=0, running=0, pending=5))
    assert statsd.received() == both("jobs.queued", "5|g", "gpu", HOST)
    other.tell(Progress(total=2, finished=1, running=1))
    assert statsd.received() == both("jobs.running", "1|g", "gpu", HOST)
    one.tell(Progress(total=5, finished=0, running=2, pending=3))
    assert statsd.received() == [
        *both("jobs.queue_wait", "_|ms", "gpu"),
        *both("jobs.running", "3|g", "gpu", HOST),
        *both("jobs.queued", "3|g", "gpu", HOST),
    ]
    one.tell(Progress(total=5, finished=1, unknown="no answer"))
    one.tell(Progress(total=5, finished=1, unknown="no answer yet"))
    assert statsd.received() == both("jobs.state_unknown", "4|c", "gpu")
    one.close()
    other.close()
    assert statsd.received() == [
        *both("jobs.running", "1|g", "gpu", HOST),
        *both("jobs.queued", "0|g", "gpu", HOST),
        *both("jobs.running", "0|g", "gpu", HOST),
    ]


def test_connections_are_counted_while_they_are_open(statsd: Server) -> None:
    send.send_metrics(gauges=True)
    connections = [Client(Login(SshSettings(host="h")), "login") for _ in range(2)]
    for connection in connections:
        connection.connection_made(None)  # type: ignore[arg-type]
    connections[0].connection_lost(None)
    connections[1].connection_lost(ConnectionResetError())
    expected = [line for number in (1, 2, 1, 0) for line in both("ssh.connections", f"{number}|g", "login", HOST)]
    assert statsd.received() == expected


def test_a_worker_sends_no_gauges(statsd: Server) -> None:
    send.send_metrics(gauges=False)
    BatchMeter("gpu", submitted=False).tell(Progress(total=5, finished=0, running=5))
    assert statsd.received() == []


def test_tags_and_lists_of_airflow_apply(statsd: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", "False")
    monkeypatch.setenv("AIRFLOW__METRICS__METRICS_ALLOW_LIST", "")
    monkeypatch.setenv("AIRFLOW__METRICS__METRICS_BLOCK_LIST", "hybrid.files,other")
    send.send_metrics(gauges=False)
    statsd.received()
    metrics.count(table.JOBS_ENDED, 3, deployment="gpu.site", state="lost")
    metrics.count(table.BYTES_MOVED, 3, deployment="gpu.site", route="relay")
    assert statsd.received() == ["airflow.hybrid.jobs.ended,deployment=gpu.site,state=lost:3|c"]


def test_nothing_is_sent_where_airflow_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "_prepared", False)
    send.send_metrics(gauges=True)
    assert metrics.sending._receiver is None


def test_a_job_does_not_fail_by_a_client_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, statsd: Server, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", "perhaps")
    send.send_metrics(gauges=True)
    assert metrics.sending._receiver is None and statsd.received() == []
    assert caplog.messages == ["metrics are not sent by this process: Airflow's client could not be made"]


def test_a_job_does_not_fail_by_a_metric(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def count(self, *args: object) -> None:
            raise OSError("no such server")

        gauge = time = count

    metrics.send_to(Broken())
    metrics.count(table.JOBS_ENDED, 3, deployment="gpu", state="lost")
    metrics.count(table.JOBS_ENDED, 3, deployment="gpu", state="lost")
    assert [record.message for record in caplog.records] == [
        "metrics are not sent by this process any more: hybrid.jobs.ended could not be sent"
    ]


def test_a_killed_process_leaves_its_jobs_to_the_next(tmp_path: Path, statsd: Server) -> None:
    send.send_metrics(gauges=False)
    task = Task(tmp_path, [0])

    async def killed() -> None:
        running = asyncio.ensure_future(FragmentExecution(task.spec, Log()).run())
        lines: list[str] = []
        while not running.done() and len(lines) < 8:
            lines += statsd.received()
            await asyncio.sleep(0.001)
        assert lines[6:8] == both("jobs.submitted", "1|c", "gpu__site")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await close_all()

    asyncio.run(killed())
    statsd.received()
    run_spec(task.spec)
    assert statsd.received() == [
        *both("jobs.recovered", "1|c", "gpu__site", "reattached"),
        *both("jobs.ended", "1|c", "gpu__site", "success"),
    ]


def test_the_page_has_every_metric_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    made = "\n".join(reference.reference()).rstrip() + "\n"
    assert page == made, "python -m airflow_hybrid.metrics.reference docs/reference/metrics.md"
    rows = re.findall(r"^\| `(hybrid\.[a-z_.]+)` \| (\w+) \|", page, re.M)
    assert rows == [(metric.name, metric.kind) for metric in table.METRICS]


def test_every_metric_is_in_the_table_and_is_sent_somewhere() -> None:
    constants = {name for name, value in vars(table).items() if isinstance(value, metrics.Metric)}
    assert len(constants) == len(table.METRICS) == len(set(table.METRICS))
    files = [path for path in (ROOT / "airflow_hybrid").rglob("*.py") if path.name != "table.py"]
    sent = set(re.findall(r"\btable\.([A-Z_]+)\b", "\n".join(path.read_text() for path in files)))
    assert sent == constants
