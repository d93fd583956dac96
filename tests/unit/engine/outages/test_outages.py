# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site that goes away in any phase of a fragment costs its jobs nothing, and no job runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentExecution, TaskIdentity
from airflow_hybrid.errors import HostUnreachableError, SiteError
from airflow_hybrid.sites.batches import queue
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.hosts.base import Command, CommandResult
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.patience import outages
from airflow_hybrid.sites.patience.backoff import Backoff
from airflow_hybrid.sites.patience.outages import Patience
from tests.unit.engine.execution import Log, spec_of

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {{ScatterFeatureRequirement: {{}}, InlineJavascriptRequirement: {{}}}}
inputs: {{table: File, number: 'int[]'}}
outputs: []
steps:
  work:
    scatter: number
    in: {{table: table, number: number}}
    out: [made]
    run:
      class: CommandLineTool
      inputs: {{table: File, number: int}}
      outputs: {{made: {{type: File, outputBinding: {{glob: made, loadContents: true, outputEval: $(self)}}}}}}
      baseCommand: [sh, -c]
      arguments: ['echo $0 >>{record}; cat $1 >made', $(inputs.number), $(inputs.table)]
"""
RUN = LocalHost._run


class Line:
    """The way to a site: each kind of command fails some times before it is answered.

    :ivar lost: whether commands run, and only their answers are lost.
    :ivar failed: how often, by the command's label.
    """

    def __init__(self, times: int, *, lost: bool) -> None:
        self.times = times
        self.lost = lost
        self.failed: Counter[str] = Counter()

    async def run(self, host: LocalHost, command: Command) -> CommandResult:
        kind = command.label.split(" ")[0]
        if host.deployment == "site" and self.failed[kind] < self.times:
            self.failed[kind] += 1
            if self.lost:
                await RUN(host, command)
            raise HostUnreachableError("the line is cut", where=host.title)
        return await RUN(host, command)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_S", 0.01)
    monkeypatch.setattr(queue, "SUBMIT_PAUSES_S", (0.01,))
    monkeypatch.setattr("airflow_hybrid.sites.batches.questions.Backoff", lambda *_: Backoff(0.01, 0.1))


def fragment(folder: Path, log: Log) -> FragmentExecution:
    (folder / "main.cwl").write_text(DOCUMENT.format(record=folder / "record"))
    (folder / "table.csv").write_text("1,2\n")
    sites = {"site": {"type": "local", "config": {}, "workdir": str(folder / "site")}}
    given: dict[str, Any] = {
        "table": {"class": "File", "location": str(folder / "table.csv")}, "number": [1, 2, 3],
    }  # fmt: skip
    identity = TaskIdentity("dag", "run", "work", origin="origin")
    spec = spec_of(folder / "main.cwl", given, sites, {"/work": {"target": "site"}}, identity)
    return FragmentExecution(spec, log)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lost", [False, True], ids=["nothing arrives", "answers are lost"])
async def test_each_command_may_fail_and_each_job_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    line, log = Line(3, lost=lost), Log()
    monkeypatch.setattr(LocalHost, "_run", lambda host, command: line.run(host, command))
    try:
        with outages.waits(Patience(log, at_first=True)):
            outcome = await fragment(tmp_path, log).run()
    finally:
        await close_all()
    assert sorted((tmp_path / "record").read_text().split()) == ["1", "2", "3"]
    assert [result.status for result in outcome.results] == ["success"]
    assert set(line.failed.values()) == {3}
    assert {"submit"} < set(line.failed)


@pytest.mark.usefixtures("quick")
async def test_a_line_that_stays_cut_is_one_error_and_a_later_try_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    line, log = Line(0, lost=True), Log()
    monkeypatch.setattr(LocalHost, "_run", lambda host, command: line.run(host, command))
    try:
        with outages.waits(Patience(log, limit_s=0.2, at_first=True)):
            first = fragment(tmp_path, log)
            running = asyncio.ensure_future(first.run())
            while not (tmp_path / "record").exists():
                await asyncio.sleep(0.01)
            line.times = 10**9
            monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__MAX_UNREACHABLE", "1")
            with pytest.raises(SiteError) as caught:
                await running
            assert "`max_unreachable` is over" in str(caught.value)
            assert not caught.value.retryable
            line.times = 0
            await fragment(tmp_path, log).run()
    finally:
        await close_all()
    assert sorted((tmp_path / "record").read_text().split()) == ["1", "2", "3"]
