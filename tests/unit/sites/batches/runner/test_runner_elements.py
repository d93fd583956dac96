# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: which jobs an element of an array begins, and how it ends."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from tests.unit.sites.batches.runner.runners import ELEMENT, PLAIN, again, codes, run, unpacked
from tests.unit.sites.shell_hosts import batch, sh


def test_many_jobs_each_run_once(shell: str, tmp_path: Path) -> None:
    folder = run(
        shell, batch(f"{tmp_path}/T/a", 150, lambda i: ("sh", "-c", f"echo {i} >>{shlex.quote(str(tmp_path))}/ran"))
    )
    assert sorted(map(int, (tmp_path / "ran").read_text().split())) == list(range(150))
    assert set(codes(folder).values()) == {"0"} and len(codes(folder)) == 150


def test_young_elements_take_further_jobs_and_old_ones_none(shell: str, tmp_path: Path) -> None:
    element = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "24"}
    packed = run(shell, batch(f"{tmp_path}/T/a", 8), environment=element)
    assert len(codes(packed)) == 8 and (packed / "c/all").exists()
    spread = run(shell, batch(f"{tmp_path}/T/b", 8), environment=element, pack_s=0)
    assert codes(spread) == {3: "0"}
    assert (spread / "c/3").read_text() == "20_3\n"


def test_a_requeued_element_begins_its_unfinished_jobs_anew(shell: str, tmp_path: Path) -> None:
    element = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "24"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 3), environment=element, pack_s=0)
    (folder / "ec/0").unlink()
    (folder / "00000/out/left over").touch()
    (folder / "c/1").write_text("20_1\n")
    again(shell, folder, {**element, "SLURM_RESTART_COUNT": "1"})
    assert codes(folder) == {0: "0"}
    assert not (folder / "00000/out/left over").exists()


def test_nothing_is_begun_after_the_task_was_cancelled(shell: str, tmp_path: Path) -> None:
    for scheduler, environment in ((ProcessScheduler(), {}), (SlurmScheduler(), ELEMENT)):
        folder = unpacked(batch(f"{tmp_path}/T/{scheduler.name}", 3), scheduler)
        (folder / "cancelled").touch()
        again(shell, folder, environment)
        assert codes(folder) == {}


def test_an_element_ends_as_its_first_job_that_failed(shell: str, tmp_path: Path) -> None:
    for number, (codes_of_jobs, expected) in enumerate((((0, 4, 3), 3), ((0, 0), 0), ((7,), 7), ((127,), 127))):
        commands = [("sh", "-c", f"exit {code}") for code in codes_of_jobs]
        made = batch(f"{tmp_path}/T/{number}", len(commands), commands.__getitem__)
        folder = unpacked(made, SlurmScheduler())
        done = subprocess.run([sh(shell), f"{folder}/runner.sh"], env={**PLAIN, **ELEMENT}, check=False)
        assert done.returncode == expected


@pytest.mark.parametrize(("code", "expected"), [(99, 1), (100, 1), (98, 98)])
def test_exit_codes_that_mean_something_else_to_grid_engine_are_not_handed_to_it(
    code: int, expected: int, tmp_path: Path
) -> None:
    folder = unpacked(batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", f"exit {code}")), SgeScheduler())
    done = subprocess.run(["sh", f"{folder}/runner.sh"], env={**PLAIN, "JOB_ID": "5"}, check=False)
    assert (done.returncode, codes(folder)) == (expected, {0: str(code)})


def test_a_pod_ends_well_whatever_its_jobs_did(tmp_path: Path) -> None:
    folder = unpacked(batch(f"{tmp_path}/T/a", 1, lambda i: ("false",)), KubernetesScheduler())
    done = subprocess.run(["sh", f"{folder}/runner.sh"], env=PLAIN, check=False)
    assert (done.returncode, codes(folder)) == (0, {0: "1"})


def test_a_requeued_element_begins_a_job_anew_that_a_signal_ended(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("true",))
    folder = run(shell, made, environment=ELEMENT, pack_s=0)
    for ending, expected in (("3 12 TERM\n", "0"), ("3 12\n", "3"), ("3 12 oom=1\n", "3"), ("- no Room\n", "-")):
        (folder / "ec/0").write_text(ending)
        (folder / "c/all").touch()
        (folder / "f/0").touch()
        again(shell, folder, {**ELEMENT, "SLURM_RESTART_COUNT": "1"})
        assert codes(folder)[0] == expected and (folder / "f/0").exists() == (expected != "0")


@pytest.mark.parametrize("level", ["00001", "00001/out"])
def test_a_job_that_put_a_link_in_the_place_of_its_folder_begins_anew_in_none_of_ours(
    shell: str, tmp_path: Path, level: str
) -> None:
    element = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "24"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 2), environment=element, pack_s=0)
    victim = tmp_path / "victim"
    for name in ("out", "tmp"):
        (victim / name).mkdir(parents=True)
        (victim / name / "precious").write_text("precious")
    (folder / "c/1").write_text("20_0\n")
    shutil.rmtree(folder / level)
    (folder / level).symlink_to(victim)
    again(shell, folder, {**element, "SLURM_RESTART_COUNT": "1"})
    assert (victim / "out/precious").read_text() == (victim / "tmp/precious").read_text() == "precious"
    assert (folder / "ec/1").read_text() == (
        f"- it cannot begin anew: airflow_hybrid: not removed: {folder}/00001/out: it is a symbolic link\n"
    )
