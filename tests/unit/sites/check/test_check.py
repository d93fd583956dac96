# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""`airflow hybrid check` where no site is needed: this machine, and what a location lacks."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from airflow_hybrid.cli import commands as cli
from airflow_hybrid.config import Deployment
from airflow_hybrid.sites import check
from airflow_hybrid.sites.check import site_probe
from tests.raising import raising
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_a_work_directory_that_is_not_there_yet_is_tried_in_the_folder_above(shell: str, tmp_path: Path) -> None:
    workdir = f"{tmp_path}/a 'b'/$c\n d"
    probe = site_probe.parse((await ShellHost(shell).run(site_probe.script(workdir))).out)
    assert (probe.write, probe.lock, probe.base, probe.missing) == ("ok", "ok", str(tmp_path), [])
    assert probe.free_kib and probe.free_kib > 0 and probe.cores == len(os.sched_getaffinity(0))
    assert list(tmp_path.iterdir()) == [], "a check leaves nothing behind"


async def test_a_work_directory_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    probe = site_probe.parse((await ShellHost().run(site_probe.script(f"{tmp_path}/file/x"))).out)
    assert "Not a directory" in probe.write


async def test_missing_programs_are_named(tmp_path: Path) -> None:
    for name in (*site_probe.REQUIRED, "nproc", "id", "uname", "rm"):
        if name not in ("flock", "awk"):
            (tmp_path / name).symlink_to(str(shutil.which(name)))
    host = ShellHost("/bin/sh", {"PATH": str(tmp_path)})
    probe = site_probe.parse((await host.run(site_probe.script("/tmp"))).out)
    assert probe.complete and probe.missing == ["flock", "awk"]


async def test_programs_that_are_not_gnus_are_named(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox: apt-get install busybox-static")
    subprocess.run([busybox, "--install", "-s", str(tmp_path)], check=True)
    host = ShellHost("busybox", {"PATH": str(tmp_path)})
    probe = site_probe.parse((await host.run(site_probe.script("/tmp"))).out)
    assert probe.complete
    assert [name for name in probe.missing if name != "flock"] == ["find -printf", "sha1sum -z"]  # some have flock


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_the_version_of_a_container_program_is_what_it_says_when_it_works(shell: str, tmp_path: Path) -> None:
    programs = {
        "ch-run": "[ -n \"$USER\" ] || { echo 'ch-run[4711]: error: $USER not set' >&2; exit 1; }; echo 0.31",
        "podman": "echo 'podman: error 13: no runtime' >&2; exit 1",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    host = ShellHost(shell, {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    host.environment.pop("USER", None)
    probe = site_probe.parse((await host.run(site_probe.script("/tmp"))).out)
    fakes = [line for line in probe.runtimes if line.split()[0] in programs]
    assert fakes == ["podman (fails: podman: error 13: no runtime)", "ch-run 0.31"]


@pytest.mark.parametrize(
    ("line", "free"),
    [
        ("/dev/sda1 100 60 40 60% /", 40),
        ("//server/share with spaces 100 60 40 60% /mnt/a b", 40),
        ("tmpfs 0 0 0 - /x", 0),
        ("df: /x: Permission denied", None),
        ("", None),
    ],
)
def test_free_space_is_read_from_any_df(line: str, free: int | None) -> None:
    assert site_probe.parse(f"space\t{line}\n").free_kib == free


def test_an_answer_that_was_cut_off_is_not_complete() -> None:
    assert not site_probe.parse("os\tLinux\nhave\ttar\n").complete


async def test_this_machine_passes(tmp_path: Path) -> None:
    found = await check.check({"here": Deployment("here", "local", workdir=f"{tmp_path}/w d")})
    assert [f.what for f in found] == ["reach", "login", "programs", "workdir", "scheduler", "capacity", "containers"]
    assert not check.fails(found), found
    (capacity,) = [f for f in found if f.what == "capacity"]
    cores = len(os.sched_getaffinity(0))
    assert re.fullmatch(rf"[0-9.]+ of {cores} cores are free \(by its load\)", capacity.detail)
    assert list(tmp_path.iterdir()) == []


async def test_a_type_without_a_connector_is_one_finding() -> None:
    (found,) = await check.check({"x": Deployment("x", "nonsense")})
    assert (found.where, found.what, found.result) == ("x", "connector", "FAIL") and found.hint


async def test_a_queue_whose_programs_are_not_there_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*site_probe.REQUIRED, "nproc", "id", "uname", "hostname", "rm"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = await check.check({"q": Deployment("q", "slurm")})
    (queue,) = [f for f in found if f.what == "scheduler"]
    assert queue.result == "FAIL" and "sbatch" in queue.detail and "config: {path: [" in queue.hint


def arguments(file: Path, **values: object) -> argparse.Namespace:
    return argparse.Namespace(
        **{"file": str(file), "deployment": None, "user": None, "timeout": 30.0, "json": False, **values}
    )


@pytest.fixture
def hybrid_file(tmp_path: Path) -> Path:
    readable = tmp_path / "fine"
    readable.mkdir()
    deployments = {
        "fine": {"type": "local", "workdir": str(readable)},
        "broken": {"type": "local", "workdir": "/proc/airflow_hybrid"},
    }
    file = tmp_path / "streamflow.yml"
    file.write_text(yaml.safe_dump({"version": "v1.0", "deployments": deployments}))
    return file


def test_the_command_ends_with_1_when_something_fails(hybrid_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.check_sites(arguments(hybrid_file))
    out = capsys.readouterr().out
    assert ended.value.code == 1
    (line,) = [line for line in out.splitlines() if " FAIL " in line]
    assert line.startswith("broken ") and " workdir " in line and "/proc" in line
    assert "give the deployment a `workdir`" in out and out.splitlines()[-1] == "14 checks, 1 failed"


def test_the_command_ends_with_0_when_all_is_fine(hybrid_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.check_sites(arguments(hybrid_file, deployment=["fine"], json=True))
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] and {f["where"] for f in shown["findings"]} == {"fine"}
    assert all(f["seconds"] >= 0 for f in shown["findings"])


def test_a_misspelt_deployment_is_answered(hybrid_file: Path) -> None:
    with raising(SystemExit, "there is no deployment `fin`\n  -> did you mean `fine`?"):
        cli.check_sites(arguments(hybrid_file, deployment=["fin"]))
