# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site where each remote command takes a second longer: a run takes longer, too, and that is all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.engine import FragmentOutcome, TaskIdentity
from airflow_hybrid.engine.execution import FragmentExecution
from airflow_hybrid.sites.closing import close_all
from tests.system.at_sites.test_hostile_values import deployments
from tests.testbed.fixture import Testbed
from tests.unit.engine.execution import Log, spec_of

JOBS = 50
DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, ShellCommandRequirement: {}}
inputs: {n: 'int[]', history: string}
outputs:
  made: {type: 'File[]', outputSource: write/made}
steps:
  write:
    scatter: n
    in: {n: n, history: history}
    out: [made]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo $0 >>$1; echo made by $0']
      arguments: [$(inputs.n), $(inputs.history)]
      inputs: {n: int, history: string}
      stdout: made.txt
      outputs: {made: stdout}
"""


@contextlib.contextmanager
def latency(testbed: Testbed, site: str, home: str, seconds: float) -> Iterator[None]:
    """Inside the block, each remote command begins later."""
    testbed.exec(site, "sh", "-c", f"cp {home}/.bashrc {home}/.bashrc.kept; echo 'sleep {seconds}' >{home}/.bashrc")
    try:
        yield
    finally:
        testbed.exec(site, "mv", f"{home}/.bashrc.kept", f"{home}/.bashrc")


@pytest.mark.slow
def test_a_second_of_latency_breaks_nothing(testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    document = tmp_path / "main.cwl"
    document.write_text(DOCUMENT)
    history = f"/scratch/history-{tmp_path.name}"
    identity = TaskIdentity("slow", "run", "write", origin=str(tmp_path))
    target = {"/": {"target": {"deployment": "hpc", "service": "main"}}}
    given = {"n": list(range(JOBS)), "history": history}
    spec = spec_of(document, given, deployments(testbed, tmp_path), target, identity)

    async def made() -> FragmentOutcome:
        try:
            return await FragmentExecution(spec, Log()).run()
        finally:
            await close_all()

    testbed.exec("hpc", "install", "-m", "666", "/dev/null", history)
    with latency(testbed, "hpc", "/home/hpcuser", 1.0):
        before, began = testbed.sshd_log_bytes("hpc"), time.monotonic()
        outcome = asyncio.run(made())
        took_s, seen = time.monotonic() - began, testbed.login_since("hpc", before)
    ran = sorted(int(line) for line in testbed.run("hpc", f"cat {history}").split())
    assert ran == list(range(JOBS))
    outputs = outcome.results[0].outputs
    assert isinstance(outputs, dict) and len(outputs["made"]) == JOBS
    assert {file["size"] for file in outputs["made"]} == {len("made by 1\n"), len("made by 10\n")}
    assert seen.connections == 1
    assert took_s > 4  # to look, to submit, to poll and to collect: the latency was there
