# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that are cancelled while their site is away end as soon as it is back, whoever comes first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from airflow_hybrid.cli.cleanup import Cleanup
from airflow_hybrid.config import parse_bindings, parse_deployments
from airflow_hybrid.engine import FragmentExecution, FragmentSpec, TaskIdentity, stopping, unended
from airflow_hybrid.errors import HostUnreachableError
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.hosts.base import Command, CommandResult
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.patience import outages
from tests.unit.engine.execution import Log, spec_of

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
inputs: []
outputs: []
steps:
  work:
    in: []
    out: []
    run:
      class: CommandLineTool
      inputs: []
      outputs: []
      baseCommand: [sh, -c, 'echo begun >>{record}; sleep 600; echo ended >>{record}']
"""
RUN = LocalHost._run


@dataclass
class Site:
    """A task whose job runs for ten minutes, at a site that can go away.

    :ivar record: what its job has written.
    """

    spec: FragmentSpec
    record: Path
    is_away: bool = False

    async def run(self, host: LocalHost, command: Command) -> CommandResult:
        if self.is_away and host.deployment == "site":
            raise HostUnreachableError("the line is cut", where="site")
        return await RUN(host, command)

    async def until(self, seen: Callable[[], object]) -> None:
        while not seen():
            await asyncio.sleep(0.02)

    @property
    def job_runs(self) -> bool:
        marks = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        return any(str(self.record).encode() in mark for mark in marks)

    def notes(self) -> list[str]:
        return [note.title for note in unended.noted(Log())]


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """The site, whose job runs; it is away when the task is stopped."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(outages, "FIRST_S", 0.01)
    monkeypatch.setattr(outages, "MOST_S", 0.1)
    record = tmp_path / "record"
    (tmp_path / "main.cwl").write_text(DOCUMENT.format(record=record))
    sites = {"site": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}}
    identity = TaskIdentity("dag", "run", "work", origin="origin")
    made = Site(spec_of(tmp_path / "main.cwl", {}, sites, {"/work": {"target": "site"}}, identity), record)
    monkeypatch.setattr(LocalHost, "_run", lambda host, command: made.run(host, command))
    running = asyncio.ensure_future(FragmentExecution(made.spec, Log()).run())
    await made.until(record.exists)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    made.is_away = True
    yield made
    made.is_away = False
    await FragmentExecution(replace(made.spec, identity=replace(identity, try_number=9)), Log()).cancel()
    await stopping.close()
    await close_all()


async def test_they_end_in_the_background_when_the_site_is_back(site: Site) -> None:
    log = Log()
    note = await stopping.stop(site.spec, log)
    assert note is not None
    assert log.lines == [
        "the jobs of /work cannot be cancelled now: site: the line is cut\n"
        "  they are cancelled as soon as it answers: by a triggerer of this machine, a later try of the task, or"
        " `airflow hybrid cleanup`"
    ]
    stopping.stop_later(note)
    stopping.stop_later(note)  # another one has read it
    await asyncio.sleep(0.3)
    assert site.job_runs and site.notes() == ["dag run work"]
    site.is_away = False
    await site.until(lambda: not site.notes())
    await site.until(lambda: not site.job_runs)


async def test_another_process_takes_over_what_was_noted(site: Site) -> None:
    await stopping.stop(site.spec, Log())
    await stopping.stop_noted()
    site.is_away = False
    await site.until(lambda: not site.notes())
    await site.until(lambda: not site.job_runs)


async def test_a_later_try_ends_them_before_it_begins(site: Site) -> None:
    await stopping.stop(site.spec, Log())
    site.is_away = False
    again = FragmentExecution(replace(site.spec, identity=replace(site.spec.identity, try_number=2)), Log())
    running = asyncio.ensure_future(again.run())
    await site.until(lambda: not site.notes())
    await site.until(lambda: site.record.read_text().split() == ["begun", "begun"] or running.done())
    assert not running.done(), running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_cleanup_lists_them_and_cancels_them(site: Site) -> None:
    said, problems = list[str](), list[str]()
    work = Cleanup([], said.append, problems.append)
    await stopping.stop(site.spec, Log())
    assert await asyncio.to_thread(work.jobs, dry_run=True) == 1
    assert await asyncio.to_thread(work.jobs, dry_run=False) == 1
    site.is_away = False
    await asyncio.to_thread(work.jobs, dry_run=False)
    assert said == ["would be cancelled: jobs of dag run work", "cancelled: jobs of dag run work"]
    assert problems == ["not cancelled: jobs of dag run work: site: the line is cut"]
    await site.until(lambda: not site.job_runs)
    assert await asyncio.to_thread(work.jobs, dry_run=False) == 0


async def test_a_note_that_somebody_broke_harms_no_other(site: Site) -> None:
    await stopping.stop(site.spec, Log())
    (path,) = (site.record.parent / unended.FOLDER).glob("*.json")
    path.with_name("a.json").write_text("{")
    path.with_name("b.json").write_text('{"identity": 7}')
    log = Log()
    assert [note.title for note in unended.noted(log)] == ["dag run work"]
    assert [line.partition(":")[0] for line in log.lines] == [
        f"the note {path.with_name(name)} about jobs that are to be cancelled cannot be read"
        for name in ("a.json", "b.json")
    ]
    assert path.stat().st_mode & 0o077 == 0


async def test_a_note_is_only_about_the_task_of_its_name(site: Site) -> None:
    await stopping.stop(site.spec, Log())
    folder = site.record.parent / unended.FOLDER
    (path,) = folder.glob("*.json")
    (folder / "a.json").write_bytes(path.read_bytes())
    (folder / "b.json").write_text("[" * 100_000)
    os.mkfifo(folder / "c.json")
    (folder / "d.json").symlink_to("/dev/zero")
    log = Log()
    assert [note.title for note in await asyncio.to_thread(unended.noted, log)] == ["dag run work"]
    assert [line.rpartition(": ")[2] for line in log.lines if "a.json" not in line and "b.json" not in line] == [
        "it is not a file",
        "it is not a file",
    ]
    assert "a.json about jobs that are to be cancelled cannot be read: it is about another task" in log.text
    assert "b.json about jobs that are to be cancelled cannot be read: " in log.text


async def test_a_later_try_does_not_wait_for_a_site_that_it_does_not_need(site: Site) -> None:
    await stopping.stop(site.spec, Log())
    sites = {"other": {"type": "local", "config": {}, "workdir": str(site.record.parent / "other")}}
    moved = replace(
        site.spec,
        identity=replace(site.spec.identity, try_number=2),
        bindings=tuple(parse_bindings({"/work": {"target": "other"}})),
        deployments=parse_deployments(sites),
    )
    log = Log()
    again = FragmentExecution(moved, log)
    running = asyncio.ensure_future(again.run())
    await site.until(lambda: site.record.read_text().split() == ["begun", "begun"] or running.done())
    assert not running.done(), running.result()
    assert "jobs of try 1 may still run, and are cancelled later: site: the line is cut" in log.lines
    assert site.notes() == ["dag run work"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await again.cancel()
