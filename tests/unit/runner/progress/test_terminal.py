# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a person sees on a real terminal while something is drawn there, and afterwards."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.terminals import Terminal, on_terminal

ROOT = Path(__file__).parents[4]
DRAWS = """\
import logging, os, subprocess, sys, threading, time
from rich.text import Text
from airflow_hybrid.runner.progress.terminal import drawing

sys.stdout = open(1, "w", closefd=False)
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
count, fails = 0, threading.Event()

def draw(columns, rows, encoding):
    global count
    count += 1
    if fails.is_set():
        raise ValueError("nothing to draw")
    return Text(f"line one of {{columns}} x {{rows}}\\nline two [red]", no_wrap=True)

def until_drawn(more):
    wanted = count + more
    while count < wanted:
        time.sleep(0.01)

print("before", flush=True)
try:
    with drawing(draw):
        until_drawn(2)
{body}
    print("after", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def drawn(tmp_path: Path, *body: str, **settings: str) -> AbstractContextManager[Terminal]:
    code = DRAWS.format(body="\n".join(f"        {line}" for line in body))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return on_terminal([sys.executable, "-c", code], environment, tmp_path, (60, 10))


DRAWING = ["line one of 59 x 10", "line two [red]"]


def test_whatever_is_written_stands_above_the_drawing_as_it_is(tmp_path: Path) -> None:
    long = "x" * 100
    body = (
        f"logging.warning('{long}')",
        "os.write(2, b'\\x1b[31mred\\x1b[0m [b]not bold[/b] :smile:\\n')",
        "subprocess.run(['sh', '-c', 'echo of a child; echo and its stderr >&2'])",
        "os.write(1, b'half a li'); until_drawn(2); os.write(1, b'ne\\n')",
        "until_drawn(2)",
        "assert sys.stdout.isatty() and os.get_terminal_size(2) == (60, 10)",
        "sys.stdout.write('the end, without an end of line')",
    )
    said = [
        "before", f"WARNING {'x' * 52}", "x" * 48, "red [b]not bold[/b] :smile:",
        "of a child", "and its stderr", "half a line",
    ]  # fmt: skip
    with drawn(tmp_path, *body) as terminal:
        assert terminal.until(lambda lines: "half a line" in lines) == [*said, *DRAWING]
        code, lines = terminal.to_the_end()
    assert (code, lines) == (0, [*said, "the end, without an end of lineafter"])
    assert terminal.shows_cursor
    assert b"\x1b[31mred\x1b[0m" in terminal.raw


def test_an_interrupt_erases_the_drawing_and_shows_the_cursor(tmp_path: Path) -> None:
    with drawn(tmp_path, "until_drawn(2)", "time.sleep(600)") as terminal:
        terminal.until(lambda lines: lines[-2:] == DRAWING)
        assert not terminal.shows_cursor
        terminal.type(b"\x03")
        assert terminal.to_the_end() == (0, ["before", "interrupted"])
    assert terminal.shows_cursor


def test_it_follows_the_size_of_the_terminal(tmp_path: Path) -> None:
    with drawn(tmp_path, "time.sleep(600)") as terminal:
        terminal.until(lambda lines: lines[-2:] == DRAWING)
        terminal.resize(40, 12)
        narrow = ["line one of 39 x 12", "line two [red]"]
        assert terminal.until(lambda lines: lines[-2:] == narrow) == ["before", *narrow]
        terminal.type(b"\x03")
        assert terminal.to_the_end() == (0, ["before", "interrupted"])


def test_after_a_stop_it_is_drawn_anew_below_what_the_shell_has_written(tmp_path: Path) -> None:
    with drawn(tmp_path, "time.sleep(600)") as terminal:
        terminal.until(lambda lines: lines[-2:] == DRAWING)
        os.kill(terminal.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
        terminal.shell_writes("\n$ fg\n")
        os.kill(terminal.process.pid, signal.SIGCONT)
        both = ["before", *DRAWING, "$ fg", *DRAWING]
        assert terminal.until(lambda lines: lines[-2:] == DRAWING and "$ fg" in lines and len(lines) > 4) == both
        terminal.type(b"\x03")
        assert terminal.to_the_end() == (0, ["before", *DRAWING, "$ fg", "interrupted"])


def test_in_the_background_nothing_is_drawn_but_what_is_written_is_shown(tmp_path: Path) -> None:
    body = (
        "child = os.fork()",  # the terminal's foreground becomes another process group, as a shell does it
        "if not child: os.setpgid(0, 0); time.sleep(600); os._exit(0)",
        "import signal; signal.signal(signal.SIGTTOU, signal.SIG_IGN)",
        "time.sleep(0.3); os.tcsetpgrp(0, child)",
        "time.sleep(1)",
        "os.write(2, b'a line\\n')",
        "time.sleep(1)",
        "os.kill(child, 9); os.waitpid(child, 0)",
    )
    with drawn(tmp_path, *body) as terminal:
        code, lines = terminal.to_the_end()
    assert (code, lines) == (0, ["before", *DRAWING[:1], f"{DRAWING[1]}a line", "after"])
    assert terminal.shows_cursor


def test_a_defect_in_the_drawing_costs_the_drawing_only(tmp_path: Path) -> None:
    body = ("fails.set()", "os.write(2, b'a line\\n')", "time.sleep(1)", "os.write(2, b'more\\n')")
    with drawn(tmp_path, *body) as terminal:
        code, lines = terminal.to_the_end()
    problem = "airflow_hybrid: the progress could not be shown to the end: ValueError: nothing to draw"
    assert code == 0
    assert "".join(lines).replace(" ", "") == f"beforea linemore{problem}after".replace(" ", "")
    assert terminal.shows_cursor


@pytest.mark.parametrize(("term", "answer"), [("dumb", "False"), ("", "False"), ("xterm", "True")])
def test_a_terminal_that_cannot_move_its_cursor_gets_nothing(tmp_path: Path, term: str, answer: str) -> None:
    code = "from airflow_hybrid.runner.progress.shown import is_terminal; print(is_terminal())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": term}
    with on_terminal([sys.executable, "-c", code], environment, tmp_path) as terminal:
        assert terminal.to_the_end() == (0, [answer])
