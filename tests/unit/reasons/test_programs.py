# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Scripts and programs that cannot be started: what real shells say of them, and what that means."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.reasons.clues import clue_in
from airflow_hybrid.reasons.failed import Ended, failed
from airflow_hybrid.reasons.programs import with_returns
from tests import needs

NO_LOADER = "what starts it (the interpreter of its first line, `#!`, or its loader)"
WINDOWS = "its script has the line ends of Windows, of which the carriage return counts as a part of names"
FOREIGN = "the system cannot run it: a program for another kind of processor, or a script without `#!`"
FILES = {
    "missing": b"#!/opt/nothing/bin/python\n",
    "env": b"#!/usr/bin/env pythn\n",
    "options": b"#!/usr/bin/env python3 -u\n",
    "windows": b"#!/usr/bin/env python3\r\n",
    "foreign": b"\x7fELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\267\0" + bytes(200),
}


@pytest.fixture
def shell(request: pytest.FixtureRequest) -> list[str]:
    name = str(request.param)
    return [needs.program("busybox"), "sh"] if name == "busybox" else [needs.program(name)]


def said_of(shell: list[str], name: str, folder: Path) -> str:
    program = folder / name
    program.write_bytes(FILES[name])
    program.chmod(0o755)
    ran = subprocess.run([*shell, "-c", f"./{name}"], cwd=folder, capture_output=True, check=False)
    assert ran.returncode in (126, 127)
    stderr = ran.stderr.decode(errors="surrogateescape")
    return failed(Ended(JobState.FAILED, ran.returncode, f"exit code {ran.returncode}", stderr)).sentence


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox", "ksh", "zsh"], indirect=True)
def test_a_script_that_cannot_be_started(shell: list[str], tmp_path: Path) -> None:
    assert said_of(shell, "missing", tmp_path) in (
        f"a program, or {NO_LOADER}, is not there: ./missing (exit code 127)",
        f"a program is there, but not {NO_LOADER}: ./missing (exit code 127)",
        *(
            "the interpreter that the first line of its script (`#!`) names is not there: /opt/nothing/bin/python"
            f" (exit code {code})"
            for code in (126, 127)
        ),
    )
    assert said_of(shell, "env", tmp_path) == "a program was not found: pythn (exit code 127)"
    assert said_of(shell, "options", tmp_path) == (
        "the first line of its script (`#!`) has options, which env takes for a part of the program's name: python3 -u"
        " (exit code 127)"
    )
    assert said_of(shell, "windows", tmp_path) == f"{WINDOWS} (exit code 127)"
    assert said_of(shell, "foreign", tmp_path) in [f"{FOREIGN}: ./foreign (exit code {code})" for code in (126, 127)]


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox", "ksh", "zsh"], indirect=True)
def test_a_script_with_the_line_ends_of_windows(shell: list[str], tmp_path: Path) -> None:
    """The shell reads it, and the carriage returns are in what it says."""
    (tmp_path / "work.sh").write_bytes(b"echo begin\r\n\r\ncd /tmp\r\nfalse\r\n")
    ran = subprocess.run([*shell, "work.sh"], cwd=tmp_path, capture_output=True, check=False)
    assert b"\r" in ran.stderr or b"\\r" in ran.stderr or b"^M" in ran.stderr
    ended = Ended(JobState.FAILED, 1, "exit code 1", ran.stderr.decode())
    assert failed(ended).sentence == f"{WINDOWS} (exit code 1)"


def test_carriage_returns_of_progress_bars_stay() -> None:
    assert with_returns("\r 10%\r 20%: work\r\n") == "\r 10%\r 20%: work\r\n"
    assert with_returns("sh: /bin/x\r: bad interpreter: No such file\r\n") == (
        "sh: /bin/x^M: bad interpreter: No such file\r\n"
    )


@pytest.mark.parametrize("text", ["/a", "'", "a: ", "env: 'a ", "exec(", "\\r", "$'", ": 1", "sh: ", "x"])
def test_hostile_words_take_no_time(text: str) -> None:
    """As much as is looked at of the stderr of one job; it took seconds."""
    began = time.process_time()
    clue_in("\n".join([text * (500 // len(text))] * 4))
    assert time.process_time() - began < 2
