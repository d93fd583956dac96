# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of a binding's `on` at a real Slurm: what its own accounting says that jobs asked for, attempt by attempt."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentOutcome, TaskIdentity
from airflow_hybrid.engine.execution import FragmentExecution
from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.sites.closing import close_all
from tests.system.at_sites.test_hostile_values import deployments
from tests.testbed.fixture import Testbed
from tests.unit.engine.execution import Log, spec_of

TOOL = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {mib: 'int[]'}
outputs: []
steps:
  fill:
    scatter: mib
    in: {mib: mib}
    out: []
    run:
      class: CommandLineTool
      requirements: {ResourceRequirement: {ramMin: 48}}
      baseCommand: [perl, -e, '$x = "x" x ($ARGV[0] << 20); sleep 6']
      arguments: [$(inputs.mib)]
      inputs: {mib: int}
      outputs: []
"""


def run(
    testbed: Testbed, folder: Path, given: dict[str, Any], binding: dict[str, Any], text: str = TOOL
) -> tuple[list[JobRecord], Log]:
    """The records of all attempts, and the log."""
    document = folder / "main.cwl"
    document.write_text(text)
    target = {"deployment": "hpc", "service": "main"}
    identity = TaskIdentity("rules", "run", "fill", origin=str(folder))
    spec = spec_of(document, given, deployments(testbed, folder), {"/": {"target": target, **binding}}, identity)
    log = Log()
    execution = FragmentExecution(spec, log)

    async def made() -> FragmentOutcome:
        try:
            return await execution.run()
        finally:
            await close_all()

    asyncio.run(made())
    return list(execution.batches.recorder.report().records), log


def requested(testbed: Testbed, record: JobRecord, field: str) -> str:
    """What Slurm's accounting, which is late, has of the job that ran an attempt."""
    while not (told := testbed.run("hpc", f"sacct -Xnj {record.scheduler_id} -o {field}%40").strip()):
        time.sleep(0.5)
    return told


@pytest.mark.slow
def test_a_failed_job_gets_more_on_another_node(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    tool = TOOL.replace("ramMin: 48}", "ramMin: 48}, ToolTimeLimit: {timelimit: 60}").replace(
        "[perl, -e, '$x = \"x\" x ($ARGV[0] << 20); sleep 6']", "[sh, -c, '[ $1 -ge $0 ] || exit 7']"
    )
    tool = tool.replace("[$(inputs.mib)]", "[$(inputs.mib), $(runtime.ram)]")
    rule = {"memory": "x8", "walltime": "10m", "exclude_node": True}
    records, log = run(testbed, tmp_path, {"mib": [1, 150, 1]}, {"on": {"exit": {"7": rule}}}, tool)
    first, *others = records
    attempts = sorted((record.index, record.state, record.memory_mib) for record in others)
    assert attempts == [(f"[{n}]", JobState.COMPLETED, mib) for n, mib in enumerate((48, 384, 48))]
    assert (first.index, first.state, first.memory_mib) == ("[1]", JobState.FAILED, 48)
    (grown,) = (record for record in others if record.index == "[1]")
    assert grown.node != first.node
    assert "mem=384M" in requested(testbed, grown, "ReqTRES")
    assert requested(testbed, grown, "Timelimit") == "00:11:00"  # 10 min, and what the next job of an element may take
    (told,) = (line for line in log.lines if "run again" in line)
    assert told.endswith(
        f"FAILED, run again by `on: exit: 7`: memory 48 MiB -> 384 MiB, time limit 60 s -> 600 s, not on {first.node}"
    )


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("TESTBED_SLURM_CGROUP") != "1", reason="needs a Slurm with cgroups: TESTBED_SLURM_CGROUP=1"
)
def test_only_the_job_that_ran_out_of_memory_gets_more(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    records, _ = run(testbed, tmp_path, {"mib": [1, 150, 1]}, {"on": {"OUT_OF_MEMORY": {"memory": "x8"}}})
    attempts = [(record.index, record.state, record.memory_mib) for record in records]
    assert attempts[0] == ("[1]", JobState.OUT_OF_MEMORY, 48)
    assert sorted(attempts[1:]) == [(f"[{n}]", JobState.COMPLETED, mib) for n, mib in enumerate((48, 384, 48))]
    grown = next(record for record in records if record.memory_mib == 384)
    assert "mem=384M" in requested(testbed, grown, "ReqTRES")
