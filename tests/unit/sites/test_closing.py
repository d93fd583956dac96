# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The end of an event loop, whatever is going on in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDS = """
import asyncio, sys
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.hosts.local import LocalHost

async def main(steps):
    for _ in range(3):
        asyncio.ensure_future(LocalHost().run("sleep 300"))
    for _ in range(steps):
        await asyncio.sleep(0)
    await close_all()

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_a_loop_ends_while_processes_are_being_started(steps: int) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS, str(steps)], capture_output=True, text=True, timeout=240)
    assert (ended.returncode, ended.stderr) == (0, "")
