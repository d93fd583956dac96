# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is done here for jobs before they are submitted and when they have ended, from real jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from airflow_hybrid.model.records import Activity
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.files.under_way import UnderWay, transfers_under_way
from tests.unit.engine.reporting.test_recording import execution


def test_what_is_done_for_jobs_is_known_while_it_is_done(tmp_path: Path) -> None:
    work = execution(tmp_path, [0, 3])
    seen: dict[Activity, None] = {}
    moved: dict[UnderWay, None] = {}

    async def look() -> None:
        while True:
            seen.update(dict.fromkeys(work.batches.recorder.activities))
            moved.update(dict.fromkeys(transfers_under_way()))
            await asyncio.sleep(0)

    async def run() -> None:
        looking = asyncio.ensure_future(look())
        await work.run()
        looking.cancel()
        await close_all()

    asyncio.run(run())
    place = "site (localhost)"
    assert list(seen) == [
        Activity("/work", place, "staging inputs", 2),
        Activity("/work", place, "making command lines", 2),
        Activity("/work", place, "submitting", 2),
        # no job has failed: the document calls 3 a success, so the site's count says nothing
        Activity("/work", place, "collecting outputs", 2, 2, 0),
    ]
    assert work.batches.recorder.activities == ()
    assert list(moved) == [UnderWay("local (localhost)", place, 1, 8)]
    assert transfers_under_way() == ()
