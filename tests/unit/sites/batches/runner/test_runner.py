# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: what a job sees, and what nothing may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JobScript
from airflow_hybrid.sites.batches.script import job_function
from tests.raising import raising
from tests.unit.sites.batches.runner.runners import codes, run
from tests.unit.sites.shell_hosts import batch

NASTY = 'it\'s "q" $HOME $(id) `id` \\ \\n ; & | > < * ? [a] {b} ~ # ! % é \U0001f600 \t\nsecond line\n'


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
    assert sorted(path.name for path in (folder / "f").iterdir()) == ["1", "2", "3", "4", "5"]
    assert (folder / "00003/stderr").read_text() == "sh: no such $tool: not found\n"


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
    assert (folder / "f/0").exists()
    assert "/nonexistent" in (folder / "00000/stderr").read_text()


def test_a_tool_that_is_not_there_is_named_in_the_stderr_of_its_job(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("/no/such tool", "x"), job={"stderr": "own"}))
    assert codes(folder) == {0: "127"}
    assert (folder / "00000/out/own").read_text() == "sh: /no/such tool: not found\n"


def test_a_missing_tool_is_told_in_the_same_words_whoever_would_start_it(shell: str, tmp_path: Path) -> None:
    """By time(1), timeout(1), or env(1) for a variable that the shell cannot set."""
    environment = {"a-b": "1", "PATH": "/usr/bin:/bin"}
    jobs: list[dict[str, Any]] = [{}, {"walltime_s": 60}, {"environment": environment}]
    for number, job in enumerate(jobs):
        folder = run(shell, batch(f"{tmp_path}/{number}/a", 1, lambda i: ("nosuch", "x"), job=job))
        assert codes(folder) == {0: "127"}
        assert (folder / "00000/stderr").read_text() == "sh: nosuch: not found\n"


def test_a_tool_that_may_not_be_executed_is_126(shell: str, tmp_path: Path) -> None:
    (tmp_path / "tool").touch()
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: (str(tmp_path / "tool"),)))
    assert codes(folder) == {0: "126"}
    assert "ermission denied" in (folder / "00000/stderr").read_text()


def test_a_nul_in_an_argument_is_refused() -> None:
    with raising(CwlError, "a command line, path or environment value contains a NUL character: 'a\\x00b'"):
        job_function(0, JobScript(("echo", "a\0b"), "/o", "/t"))
