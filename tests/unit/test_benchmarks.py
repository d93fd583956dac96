# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A benchmark is worth nothing if a wrong result counts as a time, or if CPU time escapes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import choices
from benchmarks.cases import Case, WrongOutputs
from benchmarks.peers import Measured
from benchmarks.report import Figure, Results, markdown

CASE = Case("scatter", 2)

BURN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
# sh ends at once and leaves the burner to whoever adopts it, as a detached launcher of jobs does
DETACHED = """
import subprocess, sys, time
from benchmarks import usage
usage.adopt_orphans()
keeper = subprocess.Popen(["sleep", "60"])
named = {"keeper": keeper.pid}
before = usage.cpu_s(named)
subprocess.run(["sh", "-c", '"$0" -c "$1" & exit 0', sys.executable, sys.argv[1]], check=True)
time.sleep(float(sys.argv[2]))
after = usage.cpu_s(named)
usage.reap(named)
again = usage.cpu_s(named)
assert keeper.poll() is None
keeper.kill()
print(after["detached"] - before["detached"], again["detached"] - before["detached"])
"""


def outputs(folder: Path, *texts: str) -> dict[str, object]:
    files = []
    for k, text in enumerate(texts):
        path = folder / f"{k}.txt"
        path.write_text(text)
        files.append({"class": "File", "location": path.as_uri()})
    return {"out": files}


def test_right_outputs_pass(tmp_path: Path) -> None:
    CASE.check(outputs(tmp_path, "ma-00000\n", "ma-00001\n"), "a", tmp_path)


@pytest.mark.parametrize(
    "texts", [("ma-00000\n",), ("ma-00001\n", "ma-00000\n"), ("mb-00000\n", "mb-00001\n"), ("", "")]
)
def test_missing_swapped_stale_or_empty_outputs_do_not(tmp_path: Path, texts: tuple[str, ...]) -> None:
    with pytest.raises(WrongOutputs):
        CASE.check(outputs(tmp_path, *texts), "a", tmp_path)


def test_outputs_that_were_left_elsewhere_do_not(tmp_path: Path) -> None:
    found = outputs(tmp_path, "ma-00000\n", "ma-00001\n")
    with pytest.raises(WrongOutputs, match="is not in"):
        CASE.check(found, "a", tmp_path / "out")


def test_cpu_time_of_orphans_is_counted_while_they_run_and_after() -> None:
    done = subprocess.run([sys.executable, "-c", DETACHED, BURN, "1.5"], capture_output=True, text=True, check=True)
    while_there, after = map(float, done.stdout.split())
    assert 0.02 < while_there < 1.5  # on a busy machine it gets little of a CPU
    assert while_there - 0.05 <= after < 1.6  # it went on between the two looks


def test_ratio_is_of_medians_and_a_failed_peer_gives_none() -> None:
    results = Results({}, {}, {})
    ours = Figure("scatter-1000-local", "airflow_hybrid", "", [Measured(5.0), Measured(4.0), Measured(9.0)])
    peer = Figure("scatter-1000-local", "StreamFlow", "", [Measured(10.0)])
    failed = Figure("scatter-100-slurm", "StreamFlow", "", [], "exit code 1")
    results.figures += [ours, peer, failed, Figure("scatter-100-slurm", "airflow_hybrid", "", [Measured(1.0)])]
    reached = {target.what: (target.seen, target.reached) for target in results.targets()}
    assert reached["1,000 local, default chunks / StreamFlow"] == (0.5, True)
    assert reached["100 on Slurm, default chunks / StreamFlow"] == (None, None)
    assert json.loads(json.dumps(results.to_json()))["figures"][0]["wall_s"] == 5.0


def test_the_start_of_a_run_is_compared_by_processor_time() -> None:
    results = Results({}, {}, {})
    ours = Figure("chain-10-local", "airflow hybrid run", "", [Measured(9.0, 4.0), Measured(1.0, 5.0)])
    results.figures += [ours, Figure("chain-10-local", "cwltool --parallel", "", [Measured(1.0, 1.5)])]
    reached = {target.what: (target.seen, target.reached) for target in results.targets()}
    assert reached["CPU of airflow hybrid run, chain of 10 local / cwltool"] == (3.0, True)


def test_every_case_of_the_targets_can_be_chosen() -> None:
    needed = {"ours:scatter-1000-slurm", "streamflow:scatter-100-slurm", "ours-batch:scatter-1000-local"}
    needed |= {f"{engine}:chain-10-{site}" for engine in ("ours-fused", "streamflow") for site in ("local", "slurm")}
    needed |= {"run:chain-10-local", "cwltool:chain-10-local"}
    assert needed <= set(choices())
    assert "ours-fused:scatter-1000-local" not in choices()


def test_table_is_markdown() -> None:
    assert markdown(["a", "b"], [["x", 10]]).splitlines() == ["| a | b  |", "|---|----|", "| x | 10 |"]
