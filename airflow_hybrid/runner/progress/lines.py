# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run's progress as lines for a terminal.

Names and reasons come from documents and sites. They are shown as they are, in one line: not as control sequences, and
not as the markup of rich (``[red]``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from airflow_hybrid.amounts import counted, size
from airflow_hybrid.printable import printable
from airflow_hybrid.runner.progress.view import RunView, StepLine
from airflow_hybrid.sites.files.under_way import UnderWay

MOST_LINES = 20
"""of all steps and transfers together, on however large a terminal"""
_BAR_WIDTH, _BARS_FROM = 16, 80
"""columns of a bar, and of a terminal that has bars"""
_GAP = 2
"""columns between them"""
_ECHO_WIDTH = 2
_LONGEST_REASON = 50
_MOST_PLACES = 2
_FEWEST_FOR_RATE = 3
"""jobs that have ended, before a rate of them says something"""
_SOONEST_RATE_S = 10
"""seconds since the first job was submitted, before a rate says something"""
_RUN_WIDTH = len("run")


@dataclass(frozen=True)
class _Line:
    """:ivar share: how much is done, from 0 to 1; None: nobody knows, or there is only one thing to do."""

    name: str
    text: str
    share: float | None = None
    style: str = "cyan"


def drawn(view: RunView, columns: int, rows: int, encoding: str) -> Text:
    """The lines for a terminal of this size.

    :param encoding: of the terminal; letters that it does not have are escaped.
    """
    room = max(0, min(MOST_LINES, rows - 3))
    lines = [_of_step(step) for step in view.steps]
    lines += [_Line(_route(transfer), _files(transfer)) for transfer in view.transfers]
    left_out = max(0, len(lines) - room)
    lines = [*lines[: len(lines) - left_out], _of_run(view)]
    names = [_end_of(_encodable(line.name, encoding), max(_RUN_WIDTH, columns // 3)) for line in lines]
    name_width = max(map(cell_len, names))
    has_bars = columns >= _BARS_FROM and any(line.share is not None for line in lines)
    shown = []
    if left_out:
        shown.append(Text(f"{left_out} more at work or waiting", "dim"))
    for name, line in zip(names, lines, strict=True):
        row = Text.assemble((name, line.style), " " * (name_width - cell_len(name) + _GAP))
        if has_bars:
            row.append_text(_bar(line.share, encoding)).append(" " * _GAP)
        shown.append(row.append_text(_with_failures(_encodable(line.text, encoding))))
    for row in shown:  # nothing stands at the end of a line: Ctrl-C is echoed there
        _cut(row, max(1, columns - _ECHO_WIDTH), encoding)
    return Text("\n", no_wrap=True, overflow="crop").join(shown)


def starting(seconds: float) -> Text:
    """The line before there is a run."""
    return Text.assemble(("run", "bold"), f"  starting Airflow, {_time(seconds)}")


def _cut(row: Text, columns: int, encoding: str) -> None:
    """Cut a line that is too long, visibly."""
    if row.cell_len <= columns:
        return
    sign = _in_encoding("\u2026", "...", encoding)
    row.truncate(max(0, columns - cell_len(sign)), overflow="crop")
    row.append(sign[:columns])


def _bar(share: float | None, encoding: str) -> Text:
    """It can be read without colours, too."""
    if share is None:
        return Text(" " * _BAR_WIDTH)
    full, empty = _ends_of_bars(encoding)
    count = int(_BAR_WIDTH * share)
    return Text.assemble((full * count, "green"), (empty * (_BAR_WIDTH - count), "bright_black"))


def _ends_of_bars(encoding: str) -> tuple[str, str]:
    signs = _in_encoding("\u2501\u2500", "#-", encoding)
    return signs[0], signs[1]


def _in_encoding(signs: str, plain: str, encoding: str) -> str:
    """Signs, or plain ones on a terminal that does not have them."""
    try:
        signs.encode(encoding)
    except UnicodeEncodeError:
        return plain
    return signs


def _share(done: int, total: int | None) -> float | None:
    if total is None or total < 2:
        return None
    return min(1.0, done / total)


def _encodable(text: str, encoding: str) -> str:
    text = printable(text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _with_failures(text: str) -> Text:
    shown = Text(text)
    shown.highlight_regex(r"\b\d+ failed\b", "red")
    return shown


def _end_of(text: str, columns: int) -> str:
    """The end of a path that is too long: the name of the step is there."""
    if cell_len(text) <= columns:
        return text
    text = text[-columns:]
    while cell_len(text) > columns - 3:
        text = text[1:]
    return f"...{text}"


# --- steps ----------------------------------------------------------------------------------------------------------


def _of_step(step: StepLine) -> _Line:
    share = _share(step.progress.ended, step.progress.total)
    return _Line(step.path, ", ".join(_about(step)), share)


def _about(step: StepLine) -> Iterator[str]:
    """``12 of 40 jobs ended, 1 failed, 8 running, 19 pending (Priority), 4.2 per minute, about 7 min left, at hpc``."""
    progress = step.progress
    is_single = progress.total is None or progress.total == 1
    if not is_single:
        yield f"{progress.ended} of {counted(progress.total or 0, 'job')} ended"
    if step.failed:
        yield f"{step.failed} failed"
    if progress.running:
        yield "running" if is_single else f"{progress.running} running"
    if progress.pending:
        yield ("pending" if is_single else f"{progress.pending} pending") + _because(progress.reasons)
    yield from step.doing
    if step.unknown:
        yield f"state unknown: {_begin_of(step.unknown)}"
    says_something = progress.ended >= _FEWEST_FOR_RATE and (step.seconds or 0) >= _SOONEST_RATE_S
    if says_something and progress.per_minute and progress.left_s:
        yield f"{progress.per_minute:,.{0 if progress.per_minute >= 10 else 1}f} per minute"
        yield f"about {_time(progress.left_s)} left"
    elif step.seconds is not None and (progress.running or progress.pending):
        yield f"for {_time(step.seconds)}"
    if step.places:
        more = ", ..." if len(step.places) > _MOST_PLACES else ""
        yield f"at {', '.join(step.places[:_MOST_PLACES])}{more}"


def _because(reasons: Sequence[str]) -> str:
    return f" ({_begin_of('; '.join(reasons))})" if reasons else ""


def _begin_of(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 3].rstrip()}..."


def _route(transfer: UnderWay) -> str:
    return f"{transfer.source} -> {transfer.target}"


def _files(transfer: UnderWay) -> str:
    amount = f" ({size(transfer.bytes)})" if transfer.bytes else ""
    return f"moving {counted(transfer.files, 'file')}{amount}"


# --- the run --------------------------------------------------------------------------------------------------------


def _of_run(view: RunView) -> _Line:
    return _Line("run", ", ".join(_about_all(view)), _share(view.done, view.total), "bold")


def _about_all(view: RunView) -> Iterator[str]:
    others = ((view.failed_steps, "failed"), (view.not_run, "not run"))
    why = ", ".join(f"{count} {word}" for count, word in others if count)
    yield f"{view.done} of {counted(view.total, 'step')} done{f' ({why})' if why else ''}"
    yield f"{counted(view.ended, 'job')} ended"
    counts = ((view.failed, "failed"), (view.running, "running"), (view.pending, "pending"))
    yield from (f"{count} {word}" for count, word in counts if count)
    if view.doing:
        yield view.doing
    yield _time(view.seconds)


def _time(seconds: float) -> str:
    """``12 s``, ``3 min 5 s``, ``2 h 4 min``: without the fractions that would change all the time."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
