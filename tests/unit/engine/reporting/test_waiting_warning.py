# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A batch that waits for cores which no job of this process has says so as a warning."""

from __future__ import annotations

import asyncio
import logging

import pytest

from airflow_hybrid.engine.reporting import progress as module
from airflow_hybrid.engine.reporting.progress import ProgressLog
from airflow_hybrid.sites.batches.queue import Progress

WAITS = Progress(2, 0, pending=2, reasons=("they wait for cores that other jobs of this user have",))


@pytest.mark.parametrize(("others_run", "then_runs"), [(False, False), (True, False), (False, True)])
async def test_cores_of_others_are_waited_for_with_a_warning(
    others_run: bool, then_runs: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WARN_S", 0.01)
    log = logging.getLogger("t")
    waiting, other = ProgressLog("/s", log), ProgressLog("/t", log)
    waiting.tell(WAITS)
    if others_run:
        other.tell(Progress(1, 0, running=1))
    if then_runs:
        waiting.tell(Progress(2, 0, running=2))
    await asyncio.sleep(0.1)
    waiting.close()
    other.close()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    expected = "/s: 0 of 2 jobs ended, 2 pending (they wait for cores that other jobs of this user have)"
    assert said == ([] if others_run or then_runs else [expected])


async def test_a_change_of_who_has_the_cores_is_told_again_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WARN_S", 0.01)
    monkeypatch.setattr(module, "MOST_WARNINGS", 3)
    waiting = ProgressLog("/s", logging.getLogger("t"))
    for holder in ("a", "a", "b", "c", "d"):
        waiting.tell(Progress(2, 0, pending=2, reasons=(f"they wait for cores that {holder} has",)))
        await asyncio.sleep(0.05)
    waiting.close()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [f"/s: 0 of 2 jobs ended, 2 pending (they wait for cores that {name} has)" for name in "abc"]


async def test_a_wait_that_goes_on_when_our_own_jobs_have_ended_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WARN_S", 0.01)
    log = logging.getLogger("t")
    waiting, other = ProgressLog("/s", log), ProgressLog("/t", log)
    waiting.tell(WAITS)
    other.tell(Progress(1, 0, running=1))
    await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    other.close()
    await asyncio.sleep(0.05)
    waiting.close()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["/s: 0 of 2 jobs ended, 2 pending (they wait for cores that other jobs of this user have)"]
