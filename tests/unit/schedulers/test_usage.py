# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What accountings say that jobs used, from recorded answers and as tables."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.schedulers.usage import Usage, clock_s, mebibytes, plain_s
from tests.unit.schedulers.transcripts import filtered, recorded

SLURM, SGE, PBS = SlurmScheduler(), SgeScheduler(), PbsScheduler()


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("105189376", 101), ("1", 1), ("102720K", 101), ("102400K", 100), ("1.50M", 2), ("2G", 2048), ("4532kb", 5),
        ("98.773KB", 1), ("100.504MB", 101), ("1.5GB", 1536), ("0", None), ("0kb", None), ("0.000B", None), ("", None),
        ("-1", None), ("1e9", None), ("12X", None), ("9" * 30, None), ("\u0663M", None),
    ],
)  # fmt: skip
def test_sizes_become_mib_rounded_up(text: str, mib: int | None) -> None:
    assert mebibytes(text) == mib


def test_a_number_without_unit_has_the_one_that_is_given() -> None:
    assert mebibytes("2440", "k") == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00.332", 0.332), ("01:02:03", 3723), ("1-02:03:04", 93784), ("00:00:00", None), ("", None), ("5", None),
        ("a:b", None), ("100:00:00", 360000),
    ],
)  # fmt: skip
def test_clocks_become_seconds(text: str, seconds: float | None) -> None:
    assert clock_s(text) == seconds


def test_plain_numbers_become_seconds() -> None:
    assert [plain_s(text) for text in ("0.231s", "12", "0.000", "", "x")] == [0.231, 12, None, None, None]


def slurm_text(case: str) -> str:
    answer = recorded("slurm", case)
    return f"#usage\n{answer['stdout']}#said\n{answer['stderr']}#rc {answer['exit_code']}\n"


def test_slurm_tells_the_memory_of_a_job_s_largest_step() -> None:
    assert SLURM.parse_usage(slurm_text("usage-sacct"), ["1"]) == {
        "1_0": Usage(110, 0.156, 110), "1_1": Usage(111, 0.159, 111),
    }  # fmt: skip
    steps = (
        "#usage\n5|COMPLETED||00:04.000||\n5.batch|COMPLETED|2048K|00:01|1|\n5.extern|COMPLETED|0||1|\n"
        "5.0|COMPLETED|3G|00:03|1|mem=2G\n"
    )
    assert SLURM.parse_usage(f"{steps}#rc 0\n", ["5"]) == {"5": Usage(3072, 4.0, 3074)}


def test_slurm_tells_the_memory_of_all_tasks_of_a_step() -> None:
    """Three, started by srun on two nodes, with 100 MiB each."""
    assert SLURM.parse_usage(slurm_text("usage-mpi-sacct"), ["2"]) == {"2": Usage(331, 0.513, 342)}


@pytest.mark.parametrize(
    ("tasks", "usage"),
    [
        ("8|cpu=00:06:57,energy=0,mem=15578208K,pages=4,vmem=1G", Usage(15214, 417.815, 15234)),
        ("8|cpu=00:06:57,mem=15952084992", Usage(15214, 417.815, 15234)),
        ("8|cpu=00:06:57", Usage(None, 417.815)),
        ("8|mem=x,=,", Usage(None, 417.815)),
        ("8|", Usage(None, 417.815)),
        ("1|", Usage(1902, 417.815, 1922)),
    ],
)
def test_slurm_s_largest_task_is_not_the_memory_of_a_step_of_several(tasks: str, usage: Usage) -> None:
    rows = "5|COMPLETED||06:57.815||\n5.batch|COMPLETED|20264K|00:00.034|1|\n5.extern|COMPLETED|||1|\n"
    text = f"#usage\n{rows}5.0|COMPLETED|1947276K|06:57.779|{tasks}\n#rc 0\n"
    assert SLURM.parse_usage(text, ["5"]) == {"5": usage}


def test_slurm_s_accounting_may_be_behind_absent_or_that_of_another_cluster() -> None:
    assert SLURM.parse_usage(slurm_text("usage-behind-sacct"), ["1"]) == {}
    assert SLURM.parse_usage(slurm_text("slurmdbd-down-sacct"), ["1"]) is None
    assert SLURM.parse_usage("#usage\nSlurm accounting storage is disabled\n#rc 1\n", ["1"]) is None
    command = SLURM.usage_command(["5;east", "7"])
    assert "sacct -n -P --noconvert -M east -j 5 -o" in command and "sacct -n -P --noconvert -j 7 -o" in command
    east = "#usageeast\n5|COMPLETED||00:01||\n5.batch|COMPLETED|2048K|00:01|1|\n#rc 0\n"
    two = f"{east}#usage\n7|FAILED||00:02||\n#rc 0\n"
    assert SLURM.parse_usage(two, ["5;east", "7"]) == {"5;east": Usage(2, 1.0, 2), "7": Usage(None, 2.0)}


def test_an_older_sacct_that_does_not_know_the_sum_of_tasks_still_tells_the_rest(tmp_path: Path) -> None:
    sacct = tmp_path / "sacct"
    refusal = 'echo "sacct: error: Invalid field requested: TRESUsageInTot" >&2; exit 1'
    rows = ["5|COMPLETED||00:04|", "5.batch|COMPLETED|2048K|00:04|1", "6|COMPLETED||00:04|", "6.0|COMPLETED|9G|00:04|8"]
    answer = " ".join(f"'{row}'" for row in rows)
    sacct.write_text(f'#!/bin/sh\ncase "$*" in *TRESUsageInTot*) {refusal} ;; esac\nprintf "%s\\n" {answer}\n')
    sacct.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = ["sh", "-c", SLURM.usage_command(["5", "6"])]
    said = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert SLURM.parse_usage(said.stdout, ["5", "6"]) == {"5": Usage(2, 4.0, 2), "6": Usage(None, 4.0)}


def sge_text(case: str) -> str:
    answer = recorded("sge", case)
    keep = re.search(r"\| (sed .*)", SGE.usage_command(["1"]))
    assert keep
    text = filtered(keep[1], f"{answer['stdout']}#exit {answer['exit_code']}\n")
    return f"#usage\n{text}#said\n{answer['stderr']}#rc 0\n"


@pytest.mark.parametrize(
    ("case", "used"),
    [
        ("array-usage-qacct", {"1.1": Usage(101, 0.21, 101), "1.2": Usage(101, 0.231, 101)}),
        ("array-finished-qacct-task", {"24.2": Usage(6, 0.013, 6)}),
        ("unknown-id-qacct", {}),
    ],
)
def test_grid_engine_tells_what_its_limits_count(case: str, used: dict[str, Usage]) -> None:
    assert SGE.parse_usage(sge_text(case), ["1"]) == used


def test_grid_engine_without_a_maximum_of_address_space_tells_the_largest_process() -> None:
    facts = "jobnumber    7\ntaskid       undefined\nru_maxrss    2440\ncpu          3\nmaxvmem      0.000\n"
    old = f"#usage\n{facts}#exit 0\n#rc 0\n"
    assert SGE.parse_usage(old, ["7"]) == {"7": Usage(3, 3.0)}
    assert SGE.parse_usage(old.replace("2440", "98.773KB"), ["7"]) == {"7": Usage(99, 3.0)}


def test_grid_engine_may_have_several_records_of_a_job_on_several_nodes() -> None:
    """One of each node, and in any order, where the parallel environment has no `accounting_summary`."""
    large = "jobnumber    7\ntaskid       undefined\nru_maxrss    2440\ncpu          100\nmaxvmem      8.000G\n"
    small = large.replace("8.000G", "1.000G").replace("100", "200")
    for records in (f"{large}{small}", f"{small}{large}"):
        assert SGE.parse_usage(f"#usage\n{records}#exit 0\n#rc 0\n", ["7"]) == {"7": Usage(8192, 300.0, 9216)}
    nothing = large.replace("8.000G", "0.000").replace("100", "0").replace("2440", "0")
    assert SGE.parse_usage(f"#usage\n{large}{nothing}#exit 0\n#rc 0\n", ["7"]) == {"7": Usage(8192, 100.0)}


def test_grid_engine_may_have_no_accounting() -> None:
    said = "#said\n/var/lib/gridengine/default/common/accounting: No such file or directory\n"
    assert SGE.parse_usage(f"#usage\n#exit 1\n{said}#rc 0\n", ["7"]) is None
    assert SGE.parse_usage("", ["7"]) is None


def pbs_text(state: str) -> str:
    """A recorded job that ends, as it looks in the history, and what is left of it at the site."""
    text = recorded("pbs", "state-E-text")["stdout"].replace("job_state = E", f"job_state = {state}")
    text = text.replace("mem = 0kb", "mem = 4532kb").replace("cput = 00:00:00", "cput = 00:01:07")
    command = PBS.usage_command(["25.pbs"])
    keep = re.search(r"\| (sed -nE '/\^\(Job Id: .*?/p')", command)
    assert keep
    return f"#usage\n{filtered(keep[1], text + '#exit 0' + chr(10))}#rc 0\n"


def test_pbs_tells_the_memory_of_jobs_in_its_history() -> None:
    assert PBS.parse_usage(pbs_text("F"), ["25.pbs"]) == {"25.pbs": Usage(5, 67.0, 5)}
    assert PBS.parse_usage(pbs_text("E"), ["25.pbs"]) == {}
    array = pbs_text("X").replace("25.pbs", "25[3].pbs.example.org")
    assert PBS.parse_usage(array, ["25[].pbs"]) == {"25[3].pbs": Usage(5, 67.0, 5)}
    none = "#usage\n#exit 1\n#said\nqstat: PBS is not configured to maintain job history\n#rc 0\n"
    assert PBS.parse_usage(none, ["25.pbs"]) is None


def test_a_queue_system_without_accounting_is_not_asked() -> None:
    assert FluxScheduler().usage_command(["f"]) == "" and FluxScheduler().parse_usage("", ["f"]) is None
