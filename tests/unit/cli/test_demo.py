# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What `make demo` and `make ui` say about ports, and while they take their time. No Airflow is started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import demo
from scripts.telling import Telling
from tests.system.conftest import ROOT


def start(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--home", str(home), *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("option", "command"), [((), "make demo"), (("--ui",), "make ui")])
def test_a_port_in_use_is_told_before_anything_is_started(
    option: tuple[str, ...], command: str, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = start("--port", str(port), *option, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == f"demo: port {port} of this machine is in use; nothing was started"
    assert second.startswith(f"  -> give another one (`{command} PORT=") and second.endswith(
        f"`), or end the program that listens there (`ss -ltnp 'sport = :{port}'` shows it)"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("text", ["0", "65536", "80 80", "-1", "http", "٣"])
def test_what_is_no_port_is_refused(text: str, tmp_path: Path) -> None:
    done = start(f"--port={text}", home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"make demo: error: argument --port: {text!r} is not a port: give a number from 1 to 65535"
    )
    assert not (tmp_path / "home").exists()


def test_where_nobody_chose_a_port_a_free_one_is_taken_and_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(demo, "USUAL_PORT", other.getsockname()[1])
        port = demo.choose_port(None, "make ui")
    assert capsys.readouterr().out == (
        f"port {demo.USUAL_PORT} is in use: {port} is taken. `make ui PORT=...` chooses one.\n"
    )


@pytest.mark.parametrize("target", ["demo", "ui"])
@pytest.mark.parametrize(("port", "argument"), [("8181", "--port 8181"), ("80'; x", "--port 80'; x"), ("", "")])
def test_make_hands_the_port_on_as_it_is(target: str, port: str, argument: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "pyproject.toml"):
        (tmp_path / name).touch()
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    python = programs / "python"
    python.write_text('#!/bin/sh\necho "$*"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / ".demo").touch()
    environment = {key: value for key, value in os.environ.items() if key not in ("PORT", "MAKEFLAGS")}
    done = subprocess.run(
        ["make", "-s", target, f"PORT={port}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = ["-m scripts.demo", *(["--ui"] if target == "ui" else []), *([argument] if argument else [])]
    assert done.stdout.strip() == " ".join(expected)


def test_a_step_that_lasts_is_told_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with Telling(every_s=0.05) as telling:
        telling.tell("the tables")
        end = time.monotonic() + 180
        while len(lines) < 3 and time.monotonic() < end:
            time.sleep(0.05)
            lines += capsys.readouterr().out.splitlines()
    assert [line.split(None, 2)[2] for line in lines[:3]] == [
        "the tables ...",
        "the tables ... for 0 s",
        "the tables ... for 0 s",
    ]


def test_set_up_says_which_step_it_is_at_and_for_how_long(tmp_path: Path) -> None:
    """A copy of ``setup.sh`` with an installer that takes its time; nothing is a terminal."""
    (tmp_path / "scripts").mkdir()
    text = (ROOT / "scripts" / "setup.sh").read_text()
    assert text.count("sleep 10") == 1
    (tmp_path / "scripts" / "setup.sh").write_text(text.replace("sleep 10", "sleep 0.1"))
    (tmp_path / "uv.lock").touch()
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    uv = programs / "uv"
    uv.write_text("#!/bin/sh\ncase $* in *--compile*) exit 7 ;; esac; sleep 2\n")
    uv.chmod(0o755)
    done = subprocess.run(
        ["sh", "scripts/setup.sh", "venv", "bench"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    packages = "setup: step 3 of 4: Airflow and other packages (the first time, this takes minutes)"
    lines = done.stdout.splitlines()
    assert lines[0] == f"{packages} ..." and lines[-1] == "setup: step 4 of 4: compiling the packages ..."
    assert lines[-2].startswith(f"{packages}: done after ")
    told = lines[1:-2]
    assert told and all(line.startswith(f"{packages} ... ") and line.endswith(" s") for line in told)
    assert done.returncode == 7, "a step that fails ends the set-up"
