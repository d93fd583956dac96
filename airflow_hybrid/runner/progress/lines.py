# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run's progress as lines for a terminal.

Names and reasons come from documents and sites. They are shown as they are, in one line: not as control sequences, and
not as the markup of rich (``[red]``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from airflow_hybrid.amounts import size
from airflow_hybrid.printable import printable
from airflow_hybrid.runner.progress.view import RunView, StepLine
from airflow_hybrid.sites.files.under_way import UnderWay

MOST_LINES = 20
"""of all steps and transfers together, on however large a terminal"""
_BAR_WIDTH, _BARS_FROM = 16, 80
"""columns of a bar, and of a terminal that has bars"""
_GAP = 2
"""columns between them"""
_LONGEST_REASON = 50
_MOST_PLACES = 2
_FEWEST_FOR_RATE = 3
"""jobs that have ended, before a rate of them says something"""
_SOONEST_RATE_S = 10
"""seconds since the first job was submitted, before a rate says something"""
_RUN_WIDTH = len("run")


@dataclass(frozen=True)
class _Line:
    name: str
    text: str
    bar: ProgressBar | None = None
    style: str = "cyan"


def drawn(view: RunView, columns: int, rows: int, encoding: str) -> RenderableType:
    """The lines for a terminal of this size.

    :param encoding: of the terminal; letters that it does not have are escaped.
    """
    room = max(0, min(MOST_LINES, rows - 3))
    lines = [_of_step(step) for step in view.steps]
    lines += [_Line(_route(transfer), _files(transfer)) for transfer in view.transfers]
    left_out = max(0, len(lines) - room)
    lines = [*lines[: len(lines) - left_out], _of_run(view)]
    names = [_end_of(_encodable(line.name, encoding), max(_RUN_WIDTH, columns // 3)) for line in lines]
    widths = [max(map(cell_len, names))]
    if columns >= _BARS_FROM and any(line.bar is not None for line in lines):
        widths.append(_BAR_WIDTH)
    widths.append(max(1, columns - sum(widths) - _GAP * len(widths)))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    for width in widths:
        table.add_column(no_wrap=True, overflow="ellipsis", width=width)
    for name, line in zip(names, lines, strict=True):
        bars: list[RenderableType] = [line.bar or ""] if len(widths) == 3 else []
        table.add_row(Text(name, line.style), *bars, _with_failures(_encodable(line.text, encoding)))
    if left_out:
        return Group(Text(f"{left_out} more at work or waiting", "dim"), table)
    return table


def starting(seconds: float) -> RenderableType:
    """The line before there is a run."""
    return Text.assemble(("run", "bold"), f"  starting Airflow, {_time(seconds)}")


def _bar(done: int, total: int | None) -> ProgressBar | None:
    if total is None or total < 2:
        return None
    return ProgressBar(total=total, completed=min(done, total), width=_BAR_WIDTH)


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
    bar = _bar(step.progress.ended, step.progress.total)
    return _Line(step.path, ", ".join(_about(step)), bar)


def _about(step: StepLine) -> Iterator[str]:
    """``12 of 40 jobs ended, 1 failed, 8 running, 19 pending (Priority), 4.2 per minute, about 7 min left, at hpc``."""
    progress = step.progress
    is_single = progress.total is None or progress.total == 1
    if not is_single:
        yield f"{progress.ended} of {progress.total} jobs ended"
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
    return f"moving {transfer.files} {'file' if transfer.files == 1 else 'files'}{amount}"


# --- the run --------------------------------------------------------------------------------------------------------


def _of_run(view: RunView) -> _Line:
    return _Line("run", ", ".join(_about_all(view)), _bar(view.done, view.total), "bold")


def _about_all(view: RunView) -> Iterator[str]:
    yield f"{view.done} of {view.total} {'step' if view.total == 1 else 'steps'} done"
    yield f"{view.ended} {'job' if view.ended == 1 else 'jobs'} ended"
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
