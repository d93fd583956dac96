# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Questions to programs, in the shells that login hosts have for ``sh``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.asking import Answer, ask_section, asking_functions, section
from tests.needs import SHELLS, posix_shell


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return posix_shell(request.param)


def ask(shell: list[str], question: str, path: str | None = None) -> Answer:
    """A question between two others, in a folder that cannot be written to."""
    text = (
        asking_functions()
        + ask_section("before", "echo before")
        + ask_section("it", question)
        + ask_section("after", "echo after")
    )
    environment = {"PATH": path or os.environ["PATH"]}
    done = subprocess.run(
        [*shell, "-c", text], capture_output=True, text=True, check=True, cwd="/proc", env=environment
    )
    assert done.stderr == ""
    assert section(done.stdout, "before") == Answer(["before"], [], 0)
    assert section(done.stdout, "after") == Answer(["after"], [], 0)
    return section(done.stdout, "it")


def test_complaints_cut_no_line_of_the_answer(shell: list[str]) -> None:
    answer = ask(shell, "printf 'job_st'; echo 'gone: 4[]' >&2; echo 'ate = R'; echo 'gone: 5[]' >&2; (exit 35)")
    assert answer == Answer(["job_state = R", ""], ["gone: 4[]", "gone: 5[]"], 35)


def test_an_answer_without_complaints_is_as_it_was(shell: list[str]) -> None:
    assert ask(shell, "printf 'a\\n b\\n'") == Answer(["a", " b"], [], 0)
    assert ask(shell, "false") == Answer([], [], 1)


def test_a_program_that_hangs_is_ended_and_has_said_nothing(shell: list[str]) -> None:
    answer = ask(shell, "ah_asks 1 sleep 300")
    assert answer.code in (137, 265) and answer.words == "no answer in time"


@pytest.mark.parametrize("kind", ["busybox", "old busybox", "none"])
def test_other_timeouts_and_none_do_as_well(kind: str, tmp_path: Path) -> None:
    for name in ("sleep", "true"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    if kind == "busybox":
        (tmp_path / "timeout").symlink_to("/usr/bin/busybox")
    if kind == "old busybox":  # timeout [-t SECS] [-s SIG] PROG
        old = '[ "$1" = -s ] && shift 2; [ "$1" = -t ] || exit 1; shift; exec /usr/bin/timeout -s KILL "$@"'
        (tmp_path / "timeout").write_text(f"#!/bin/sh\n{old}\n")
        (tmp_path / "timeout").chmod(0o755)
    hangs = ask(["/usr/bin/dash"], "ah_asks 1 sleep 3", str(tmp_path))
    assert (hangs.code, hangs.words) == ((0, "") if kind == "none" else (137, "no answer in time"))
    assert ask(["/usr/bin/dash"], "ah_asks 5 sleep 0; echo ok", str(tmp_path)) == Answer(["ok"], [], 0)


def test_what_was_cut_off_is_no_answer() -> None:
    assert section("#it\na\n#said\nb\n", "it") == Answer(["a"], ["b"], None)
    assert section("", "it") == Answer([], [], None)
