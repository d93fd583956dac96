# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""docs/tutorial.md does what it says: its files are written and its commands typed, and they print what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorial.md"
FENCE = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
TIMEOUT_S = 300


@dataclass(frozen=True)
class Command:
    """A line to type, what is to be printed then, and its line number in the tutorial."""

    text: str
    output: str
    line: int


def blocks() -> Iterator[tuple[str, str | None, str, int]]:
    """Kind, file name, text and line number of every fenced block."""
    text = TUTORIAL.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield match["kind"], match["title"], match["text"], text.count("\n", 0, match.start()) + 1


def commands(text: str, line: int) -> Iterator[Command]:
    """``$ `` starts a command; what follows it is its output."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Command(command, output, line)


def test_every_block_is_a_file_or_a_dialogue() -> None:
    assert [(kind, line) for kind, title, _, line in blocks() if not title and kind != "console"] == []


@pytest.mark.slow
@pytest.mark.long
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    # one shell for all, so that `cd` and `export` hold on; each command's output ends with a mark
    script: list[str] = ["set -e"]
    expected: list[Command] = []
    for kind, title, text, line in blocks():
        if title:
            path = tmp_path / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif kind == "console":
            for command in commands(text, line):
                script += [command.text, f"echo '<{len(expected)}>'"]
                expected.append(command)
    home = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    shell = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**home, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    outputs = re.split(r"^<\d+>\n", shell.stdout, flags=re.MULTILINE)
    for number, command in enumerate(expected):
        where = f"tutorial.md:{command.line}: $ {command.text}"
        assert number < len(outputs) - 1, f"{where}\n{shell.stderr}\n{_logs(tmp_path)}"
        assert outputs[number] == command.output, where


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-4000:] for path in sorted(folder.glob("*.log")))
