# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: what a job sees, and what nothing may change."""

from __future__ import annotations

import gzip
import os
import shlex
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.hooks import job_directory
from airflow_hybrid.hooks.job_directory import Batch
from airflow_hybrid.hooks.job_script import job_function
from airflow_hybrid.model import JobScript, StageEntry
from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from tests.unit.hooks.batches import EVERY_SHELL, batch, sh

NASTY = 'it\'s "q" $HOME $(id) `id` \\ \\n ; & | > < * ? [a] {b} ~ # ! % é \U0001f600 \t\nsecond line\n'


def run(shell: str, made: Batch, *, environment: dict[str, str] | None = None, **more: object) -> Path:
    """Unpack the batch and run its runner in the foreground."""
    scheduler = ProcessScheduler() if environment is None else SlurmScheduler()
    sub = job_directory.submission(made, host_cores=2, **more)
    data = job_directory.archive(made, scheduler, sub)
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    folder = Path(made.directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(f"{MARKER_LINE}\n")
    subprocess.run(["tar", "-xof", "-"], cwd=folder, input=data, check=True)
    for name in ("c", "ec", *(f"{key}/{sub}" for key in made.keys for sub in ("out", "tmp"))):
        (folder / name).mkdir(parents=True, exist_ok=True)
    again(shell, folder, environment)
    return folder


def again(shell: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    argv = [sh(shell)]
    # a runner whose environment is not clean begins again in /bin/sh
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ah_clean": "1", **(environment or {})}
    subprocess.run([*argv, str(folder / "runner.sh")], stdin=subprocess.DEVNULL, env=env, check=True, timeout=60)


@pytest.fixture(params=EVERY_SHELL)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def codes(folder: Path) -> dict[int, str]:
    return {int(p.name): p.read_text().split(" ")[0].strip() for p in (folder / "ec").iterdir()}


def test_arguments_reach_the_tool_unchanged(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T b'c $x \\/a", 1, lambda i: ("printf", "%s\\0", NASTY, "", "-n", "a b", "$x"))
    assert (run(shell, made) / "00000/stdout").read_bytes().split(b"\0") == [
        NASTY.encode(), b"", b"-n", b"a b", b"$x", b"",
    ]  # fmt: skip


def test_environment_is_that_of_cwl_and_values_are_literal(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("env", "-0"), job={"environment": {"NASTY": NASTY, "odd.name": "x"}})
    made = replace(made, jobs=(made.jobs[0], replace(made.jobs[1], environment={})))
    folder = run(shell, made)

    def seen(key: str) -> dict[str, str]:
        entries = (folder / key / "stdout").read_text().split("\0")[:-1]
        return dict(entry.split("=", 1) for entry in entries)

    first, second = seen("00000"), seen("00001")
    assert first["NASTY"] == NASTY and first["odd.name"] == "x"
    assert (first["HOME"], first["TMPDIR"]) == (f"{folder}/00000/out", f"{folder}/00000/tmp")
    assert "NASTY" not in second and second["HOME"] == f"{folder}/00001/out"
    assert not [name for name in first if name.startswith("ah_")]


def test_template_exports_and_queue_variables_are_kept(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("env",))
    folder = run(shell, made, environment={"SLURM_JOB_ID": "7", "MODULE": "gcc"})
    seen = (folder / "00000/stdout").read_text()
    assert "MODULE=gcc\n" in seen and "SLURM_JOB_ID=7\n" in seen
    assert (folder / "c/0").read_text() == "7\n"


def test_a_tool_that_reads_stdin_eats_nothing(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 5, lambda i: ("sh", "-c", f"cat; echo {i}")))
    assert [(folder / f"{i:05d}/stdout").read_text() for i in range(5)] == [f"{i}\n" for i in range(5)]


def test_streams_go_where_the_job_says(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "in $x\n"
    source.write_text("given")
    names = {"stdin": str(source), "stdout": "-o 'ü'\n.txt", "stderr": "sub dir/e"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "cat; echo bad >&2"), job=names))
    assert (folder / "00000/out" / names["stdout"]).read_text() == "given"
    assert (folder / "00000/out/sub dir/e").read_text() == "bad\n"


def test_one_file_may_take_both_streams(shell: str, tmp_path: Path) -> None:
    names = {"stdout": "log", "stderr": "log"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "echo a; echo b >&2; echo c"), job=names))
    assert (folder / "00000/out/log").read_text() == "a\nb\nc\n"


def test_exit_codes_signals_and_missing_commands_are_recorded(shell: str, tmp_path: Path) -> None:
    commands = [("true",), ("sh", "-c", "exit 7"), ("sh", "-c", "kill -9 $$"), ("no such $tool",), ("-x",), ("exit",)]
    folder = run(shell, batch(f"{tmp_path}/T/a", len(commands), lambda i: commands[i]))
    assert codes(folder) == {0: "0", 1: "7", 2: "137", 3: "127", 4: "127", 5: "127"}
    assert "no such $tool" in (folder / "00003/stderr").read_text()


def test_71_is_an_exit_code_like_any_other(shell: str, tmp_path: Path) -> None:
    assert codes(run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "exit 71")))) == {0: "71"}


def test_shell_text_runs_as_one_script(shell: str, tmp_path: Path) -> None:
    folder = run(
        shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("echo 'a  b' | tr a-z A-Z; exit 3",), job={"shell": True})
    )
    assert (folder / "00000/stdout").read_text() == "A  B\n"
    assert codes(folder) == {0: "3"}


def test_a_job_that_cannot_be_started_is_not_the_tools_failure(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, job={"stdin": "/nonexistent"}))
    assert (folder / "ec/0").read_text().startswith("- its input or output files")
    if shell != "zsh":  # which says that where the runner itself writes
        assert "/nonexistent" in (folder / "00000/stderr").read_text()


def test_time_limit_ends_the_tool(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sleep", "60"), job={"walltime_s": 1}))
    code, hundredths = (folder / "ec/0").read_text().split()
    # busybox's timeout gives the exit code of a tool that was ended
    assert code == ("143" if shell == "busybox" else "124") and 100 <= int(hundredths) < 600


def test_stage_entries_are_made_in_order(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "données"
    (source / "sub").mkdir(parents=True)
    (source / "sub/f").write_text("original")
    (source / "sub/f").chmod(0o444)
    (source / "link").symlink_to("sub/f")
    directory = f"{tmp_path}/T/a"
    out = f"{directory}/00000/out"
    stage = (
        StageEntry("mkdir", f"{out}/d"),
        StageEntry("file", f"{out}/d/run me.sh", text=b"#!/bin/sh\necho ran\n", executable=True),
        StageEntry("link", f"{out}/-in\n", source=f"{source}/sub/f"),
        StageEntry("copy", f"{out}/copy", source=str(source)),
        StageEntry("file", f"{out}/copy/new", text=b"\0\xff"),
        StageEntry("link", f"{out}/copy/sub/l", source=str(source)),
    )
    script = 'sh "d/run me.sh" && cat -- "./-in\n" && echo changed > copy/sub/f && echo changed > copy/link'
    folder = run(shell, batch(directory, 1, lambda i: ("sh", "-c", script), job={"stage": stage}))
    assert codes(folder) == {0: "0"}, (folder / "00000/stderr").read_text()
    assert (folder / "00000/stdout").read_text() == "ran\noriginal"
    assert (source / "sub/f").read_text() == "original"
    assert (folder / "00000/out/copy/new").read_bytes() == b"\0\xff"
    assert os.readlink(folder / "00000/out/copy/sub/l") == str(source)
    assert (folder / "00000/out/d/run me.sh").stat().st_mode & stat.S_IXUSR


def test_a_copy_that_fails_says_so(shell: str, tmp_path: Path) -> None:
    directory = f"{tmp_path}/T/a"
    entry = StageEntry("copy", f"{directory}/00000/out/x", source="/nonexistent")
    folder = run(shell, batch(directory, 1, job={"stage": (entry,)}))
    assert (folder / "ec/0").read_text() == "- its working directory cannot be prepared\n"
    if shell != "zsh":  # which says that where the runner itself writes
        assert "/nonexistent" in (folder / "00000/stderr").read_text()


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
    (tmp_path / "T/a").mkdir(parents=True)
    (tmp_path / "T/a/cancelled").touch()
    assert codes(run(shell, batch(f"{tmp_path}/T/a", 3))) == {}


def test_a_nul_in_an_argument_is_refused() -> None:
    with pytest.raises(CwlError, match="NUL"):
        job_function(0, JobScript(("echo", "a\0b"), "/o", "/t"))
