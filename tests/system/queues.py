# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the tests of queues share: a site's programs made worse, and the ends of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.sites.batches.queue import Progress
from tests.testbed.fixture import Testbed


@contextlib.contextmanager
def wrapped(testbed: Testbed, site: str, program: str, script: str) -> Iterator[None]:
    """A script before the site's own program on everybody's PATH."""
    path = f"/usr/local/bin/{program}"
    testbed.exec(site, "sh", "-c", f"cat >{path} <<'END'\n#!/bin/sh\n{script}\nEND\nchmod 755 {path}")
    try:
        yield
    finally:
        testbed.exec(site, "rm", "-f", path)


async def until(seen: list[Progress], what: Callable[[Progress], object], seconds: float = 240) -> None:
    """Wait until the last progress that was seen is what is wanted."""
    deadline = time.monotonic() + seconds
    while not (seen and what(seen[-1])):
        assert time.monotonic() < deadline, seen[-1:]
        await asyncio.sleep(0.2)


def ends(results: list[JobResult]) -> list[tuple[JobState, int | None]]:
    return [(result.state, result.exit_code) for result in results]
