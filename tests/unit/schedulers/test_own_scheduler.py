# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""docs/how-to/write-a-scheduler.md: its example is complete, short, and runs batches."""

from __future__ import annotations

import ast
import asyncio
import io
import re
import tokenize
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, parse_deployments
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.batch import BatchScheduler
from airflow_hybrid.sites.batches import queue as queue_
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.connectors import clusters, registry
from tests.fakes.jobstore import install
from tests.unit.sites.shell_hosts import ShellHost, batch

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-a-scheduler.md"
MOST_LINES = 80


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


def lines_of_code(source: str) -> int:
    """Lines that hold something else than comments and docstrings."""
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in skip
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - docstrings)


@pytest.fixture
def lsf() -> type[BatchScheduler]:
    names: dict[str, Any] = {"__name__": "lsf"}
    exec(compile(example(), str(PAGE), "exec", dont_inherit=True), names)
    found: type[BatchScheduler] = names["LsfScheduler"]
    return found


def test_a_scheduler_costs_no_more_than_80_lines_of_code() -> None:
    assert lines_of_code(example()) <= MOST_LINES


def test_batches_run_with_it(lsf: type[BatchScheduler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_, "SUBMIT_PAUSES_S", (0.0, 0.3))
    monkeypatch.setattr(BatchScheduler, "status_interval_s", 0.6)
    environment = install(tmp_path / "fake", "lsf.py", "bsub", "bjobs", "bkill")
    (tmp_path / "fake" / "lose").write_text("")

    async def run() -> None:
        queue = JobQueue(ShellHost("dash", environment), lsf(), grace_s=2.0)
        resources = Resources(cores=2, explicit=frozenset({"cores"}))
        made = batch(f"{tmp_path}/T/a", 5, lambda i: ("sh", "-c", f"echo {i} >>'{tmp_path}/ran'"), resources=resources)
        (report,) = await queue.submit(made)  # whose reply is lost
        assert [r.state for r in await queue.wait(made.directory)] == [JobState.COMPLETED] * 5
        assert sorted((tmp_path / "ran").read_text().split()) == ["0", "1", "2", "3", "4"]
        assert report.scheduler_ids == ("100",)
        long = batch(f"{tmp_path}/U/a", 2, lambda i: ("sleep", "300"))
        await queue.submit(long)
        seen: list[Progress] = []
        waiting = asyncio.ensure_future(queue.wait(long.directory, seen.append))
        while not (seen and seen[-1].running):
            await asyncio.sleep(0.1)
        await queue.cancel(f"{tmp_path}/U")
        assert {r.state for r in await waiting} == {JobState.CANCELLED}

    asyncio.run(run())


def test_its_entry_point_is_a_type_of_deployment(
    lsf: type[BatchScheduler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point(EntryPoint):
        def load(self) -> Any:
            return lsf

    def points(group: str = "", name: str | None = None) -> list[EntryPoint]:
        ours = group == "airflow_hybrid.schedulers" and name in (None, "lsf")
        return [Point("lsf", "mypackage.lsf:LsfScheduler", group)] if ours else []

    for module in (
        "config.reading.checks",
        "config.reading.normal_deployments",
        "sites.connectors.clusters",
        "sites.connectors.registry",
    ):
        monkeypatch.setattr(f"airflow_hybrid.{module}.entry_points", points)
    (tmp_path / "mine.jinja2").write_text("#!/bin/sh\n#BSUB -q long\n{{streamflow_command}}\n")
    given = {"type": "lsf", "config": {"maxConcurrentJobs": 5, "services": {"mine": {"file": "mine.jinja2"}}}}
    deployment: Deployment = parse_deployments({"cluster": given}, base_dir=str(tmp_path))["cluster"]
    connector = registry.connector_class(deployment)(deployment)
    assert isinstance(connector, clusters.QueueConnector) and isinstance(connector.scheduler(), lsf)
    assert connector.options("mine")["template"].startswith("#!/bin/sh\n#BSUB -q long")
    assert connector.options("mine")["maxConcurrentJobs"] == 5
