# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run's progress as lines of text."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from airflow_hybrid.overviews.progress import StepProgress
from airflow_hybrid.runner.progress.lines import drawn, starting
from airflow_hybrid.runner.progress.view import RunView, StepLine
from airflow_hybrid.sites.files.under_way import UnderWay

ALIGN = StepLine(
    path="/align",
    progress=StepProgress(
        total=40, ended=10, running=8, pending=22, reasons=("Priority",), since=1.0, per_minute=4.25, left_s=423.4
    ),
    failed=1,
    places=("hpc/gpu (node1)",),
    seconds=141,
)
CHECK = StepLine("/check", StepProgress(total=1, running=1), places=("local (localhost)",), seconds=65)
FETCH = StepLine("/fetch", StepProgress(total=12), doing=("staging inputs",))
VIEW = RunView(
    steps=(ALIGN, CHECK, FETCH),
    transfers=(UnderWay("hpc (node1)", "cloud (vm)", 3, 1_200_000_000), UnderWay("http://data/a", "cloud (vm)", 1, 0)),
    done=2,
    total=8,
    ended=52,
    failed=1,
    running=9,
    pending=22,
    doing="",
    seconds=3725,
)


def shown(view: RunView, columns: int = 200, rows: int = 24, encoding: str = "utf-8", *, colours: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=columns, height=rows, force_terminal=colours, color_system="standard" if colours else None
    )
    console.print(drawn(view, columns, rows, encoding))
    return file.getvalue().rstrip("\n")


def test_a_line_for_each_step_at_work_each_transfer_and_the_run() -> None:
    no_bar = " " * 18
    assert shown(VIEW).split("\n") == [
        f"{'/align':29}━━━━────────────  10 of 40 jobs ended, 1 failed, 8 running, 22 pending (Priority),"
        " 4.2 per minute, about 7 min 3 s left, at hpc/gpu (node1)",
        f"{'/check':29}{no_bar}running, for 1 min 5 s, at local (localhost)",
        f"{'/fetch':29}────────────────  0 of 12 jobs ended, staging inputs",
        f"{'hpc (node1) -> cloud (vm)':29}{no_bar}moving 3 files (1.2 GB)",
        f"{'http://data/a -> cloud (vm)':29}{no_bar}moving 1 file",
        f"{'run':29}━━━━────────────  2 of 8 steps done, 52 jobs ended, 1 failed, 9 running, 22 pending, 1 h 2 min",
    ]


def test_a_rate_of_few_jobs_or_of_a_short_time_says_nothing() -> None:
    few = replace(ALIGN, progress=replace(ALIGN.progress, ended=2), failed=0)
    early = replace(ALIGN, seconds=9, failed=0)
    texts = [shown(replace(VIEW, steps=(step,), transfers=())).split("\n")[0][26:] for step in (few, early)]
    at = "8 running, 22 pending (Priority), for {}, at hpc/gpu (node1)"
    assert texts == [f"2 of 40 jobs ended, {at.format('2 min 21 s')}", f"10 of 40 jobs ended, {at.format('9 s')}"]


def test_the_state_of_jobs_may_be_unknown_and_reasons_are_long() -> None:
    lost = StepLine("/a", StepProgress(total=1, pending=1, reasons=("x" * 60, "y")), unknown="ssh: " + "z" * 60)
    text = shown(replace(VIEW, steps=(lost,), transfers=())).split("\n")[0]
    assert text == f"/a {' ' * 20}pending ({'x' * 47}...), state unknown: ssh: {'z' * 42}..."


@pytest.mark.parametrize("columns", [1, 5, 20, 40, 79, 100])
def test_no_line_is_as_long_as_the_terminal_is_wide(columns: int) -> None:
    lines = shown(VIEW, columns).split("\n")
    assert len(lines) == len(VIEW.steps) + len(VIEW.transfers) + 1
    assert max(map(len, lines)) == max(1, columns - 2)


def test_narrow_terminals_have_the_ends_of_paths_and_no_bars() -> None:
    step = replace(CHECK, path="/a/workflow/in/a/workflow/check")
    assert shown(replace(VIEW, steps=(step,), transfers=()), 60).split("\n") == [
        ".../a/workflow/check  running, for 1 min 5 s, at local (l…",
        "run                   2 of 8 steps done, 52 jobs ended, 1…",
    ]


def test_a_line_that_is_cut_says_so() -> None:
    view = replace(VIEW, steps=(replace(CHECK, doing=("x" * 60,)),), transfers=())
    assert shown(view, 40).split("\n")[0] == f"/check  running, {'x' * 20}…"
    assert shown(view, 40, encoding="ascii").split("\n")[0] == f"/check  running, {'x' * 18}..."


def test_more_steps_than_rows_are_counted() -> None:
    steps = tuple(replace(FETCH, path=f"/s{number}") for number in range(30))
    lines = shown(replace(VIEW, steps=steps, transfers=()), rows=8).split("\n")
    assert [line[:4] for line in lines] == ["25 m", "/s0 ", "/s1 ", "/s2 ", "/s3 ", "/s4 ", "run "]
    assert lines[0] == "25 more at work or waiting"
    assert len(shown(replace(VIEW, steps=steps), rows=100).split("\n")) == 22
    assert shown(replace(VIEW, steps=steps, transfers=()), rows=2).split("\n")[0] == "30 more at work or waiting"


def test_names_and_reasons_are_text_and_stay_in_their_line() -> None:
    hostile = "/[red]a[/red]\x1b[2J\nb\u202e:smile:"
    step = StepLine(hostile, StepProgress(total=1, pending=1, reasons=("[bold]\x1b]0;x\x07\r",)), places=("[/]\x9b",))
    lines = shown(replace(VIEW, steps=(step,), transfers=()), colours=True).split("\n")
    assert len(lines) == 2
    assert lines[0].startswith("\x1b[36m/[red]a[/red]\\x1b[2J\\nb\\u202e:smile:\x1b[0m  ")
    assert lines[0].endswith(r"pending ([bold]\x1b]0;x\x07\r), at [/]\x9b")


def test_letters_that_the_terminal_does_not_have_are_escaped() -> None:
    step = replace(ALIGN, path="/größe", places=("küche",), failed=0, seconds=1)
    text = shown(replace(VIEW, steps=(step,), transfers=()), encoding="ascii").split("\n")[0]
    assert text == (
        r"/gr\xf6\xdfe  ####------------  10 of 40 jobs ended, 8 running, 22 pending (Priority), for 1 s, at k\xfcche"
    )
    text.encode("ascii")


def test_failures_are_red() -> None:
    assert "\x1b[31m1 failed\x1b[0m" in shown(VIEW, colours=True)


def test_before_there_is_a_run() -> None:
    assert starting(12.5).plain == "run  starting Airflow, 12 s"
