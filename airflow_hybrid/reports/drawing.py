# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Pictures of a run as SVG: its timeline, sites with transfers, and what was used of what was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_hybrid.amounts import core_hours_in_words, counted, duration, size
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.reports.texts import escaped
from airflow_hybrid.reports.values import NOT_RUN, RunReport, SitePart, StepPart

_WIDTH = 960
_LEFT = 230
_ROW = 24
_RIGHT = _WIDTH - 20
_PLOT = _RIGHT - _LEFT
_LETTER = 7.5
"""width of a letter, at most, on average"""
MOST_ROWS = 200
"""steps in a picture"""
_NAME = 32
_LONGEST = 100
_LINE = 17
"""from one line of text to the next"""
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""times between two ticks of an axis, up to a day"""
_MOST_TICKS = 8
_OVER_WITHOUT_JOBS = (NOT_RUN, "failed", "skipped")
STYLE = """\
svg{max-width:100%;height:auto;font:12px sans-serif}
svg text{fill:#222}svg .wait{fill:#b9bec6}svg .run{fill:#2f6fb3}svg .bad{fill:#c23b3b}svg .axis{stroke:#999}
svg .tick{stroke:#e3e6ea}svg .box{fill:#2f6fb3;fill-opacity:.35;stroke:#2f6fb3}svg .mid{stroke:#1d4670;stroke-width:2}
svg .ask{stroke:#c26a1a;stroke-width:2}
svg .site{fill:#e8eef5;stroke:#2f6fb3}svg .flow{fill:none;stroke:#2f8f5b;stroke-opacity:.6}"""
DARK = "svg text{fill:#ddd}svg .site{fill:#26313d}svg .mid{stroke:#9cc4ee}svg .tick{stroke:#3a4048}"
ALONE = f"{STYLE}@media(prefers-color-scheme:dark){{{DARK}}}"
"""the style of a picture that is a file"""


def svg(title: str, height: float, parts: Sequence[str], style: str = "") -> str:
    """A picture.

    :param style: of a picture that is not part of a page, which has one.
    """
    within = f"<style>{style}</style>" if style else ""
    space = ' xmlns="http://www.w3.org/2000/svg"' if style else ""
    label = escaped(title)
    start = f'<svg{space} viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{label}"><title>{label}</title>'
    return f"{start}{within}{''.join(parts)}</svg>"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def _name(path: str, most: int = _NAME) -> str:
    return path if len(path) <= most else f"...{path[3 - most :]}"


def timeline(report: RunReport, style: str = "") -> str:
    """When the jobs of each step waited and ran."""
    return next(timelines(report, (MOST_ROWS, MOST_ROWS), style))


def timelines(report: RunReport, rows: tuple[int, int], style: str = "") -> Iterator[str]:
    """The timeline as several pictures below each other, with the same axis.

    :param rows: steps in the first picture, and in each of the others.
    """
    steps = [step for step in report.steps if _has_run(step) or _is_over_without_jobs(step)]
    times = [t for step in steps for t in (step.submitted, step.began, step.finished) if t is not None]
    if not times and steps and report.began is not None:
        times = [report.began, report.ended if report.ended is not None else report.began]
    if not times:
        yield svg("timeline", _ROW, [_text(0, 16, "no step has begun")], style)
        return
    shown = steps[:MOST_ROWS]
    longest = max(len(_name(step.path)) for step in shown)
    axis = _Axis(min(times), max(times), min(_LEFT, 24 + _LETTER * longest))
    title = f"timeline of {report.heading}, {report.subtitle}"
    starts = [0, *range(rows[0], len(shown), rows[1])]
    for start, end in zip(starts, [*starts[1:], len(shown)], strict=True):
        left_out = len(steps) - len(shown) if end == len(shown) else 0
        height = (end - start + 1 + bool(left_out)) * _ROW
        yield svg(title, height, _picture(shown[start:end], axis, left_out), style)


def _has_run(step: StepPart) -> bool:
    return step.finished is not None or step.began is not None


def _is_over_without_jobs(step: StepPart) -> bool:
    """Whether a step is over, and no job of it ran or was reused; a sub-workflow never has jobs itself."""
    return step.kind != "workflow" and step.state in _OVER_WITHOUT_JOBS


@dataclass(frozen=True)
class _Axis:
    """Times, in seconds since the epoch, along the picture.

    :ivar left: where the first one is.
    """

    first: float
    last: float
    left: float = _LEFT

    @property
    def span(self) -> float:
        return max(self.last - self.first, 1e-3)

    def x(self, time_s: float) -> float:
        return self.left + (time_s - self.first) * (_RIGHT - self.left) / self.span

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Where round times are, and what they are called."""
        days = math.ceil(self.span / 86400 / _MOST_TICKS)
        step = next((step for step in _TICKS_S if self.span / step <= _MOST_TICKS), days * 86400)
        if self.span < step:
            yield from ((self.first, "0"), (self.last, duration(self.span)))
            return
        for number in range(int(self.span / step) + 1):
            yield self.first + number * step, _round_time(number * step)


def _round_time(seconds: int) -> str:
    """``1 h 30 min``, without the parts that are nothing."""
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size_s, name in units:
        count, seconds = divmod(seconds, size_s)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts) or "0"


def _picture(steps: Sequence[StepPart], axis: _Axis, left_out: int) -> list[str]:
    """:param left_out: steps that the picture has no rows for."""
    foot = len(steps) * _ROW
    parts: list[str] = []
    for time_s, label in axis.ticks():
        x = axis.x(time_s)
        parts.append(f'<line class="tick" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{foot}"/>')
        parts.append(_text(x, foot + 16, label, "end" if x > _WIDTH - 40 else "middle"))
    for row, step in enumerate(steps):
        parts += _bars(step, row * _ROW, axis)
    parts.append(f'<line class="axis" x1="{axis.left:.1f}" y1="{foot}" x2="{_RIGHT}" y2="{foot}"/>')
    if left_out:
        parts.append(_text(axis.left, foot + _ROW + 16, f"and {counted(left_out, 'more step')}"))
    return parts


def _bars(step: StepPart, y: float, axis: _Axis) -> Iterator[str]:
    yield _text(axis.left - 8, y + 16, _name(step.path), "end")
    began = step.began if step.began is not None else step.finished
    if began is None:
        yield _text(axis.left + 8, y + 16, _name(step.state_and_reason, _LONGEST))
        return
    finished = step.finished if step.finished is not None else axis.last
    if step.submitted is not None and step.submitted < began:
        yield _bar("wait", axis.x(step.submitted), y, axis.x(began) - axis.x(step.submitted), "")
    about = f"{step.path}: {step.succeeded} succeeded, {step.failed} failed, {duration(finished - began)}"
    yield _bar("bad" if step.failed else "run", axis.x(began), y, axis.x(finished) - axis.x(began), about)


def _bar(kind: str, x: float, y: float, width: float, about: str) -> str:
    inner = f"<title>{escaped(about)}</title>" if about else ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y + 4:.1f}" width="{max(width, 1.5):.1f}" height="16">{inner}</rect>'


def sites(report: RunReport, style: str = "") -> str:
    """Sites as boxes; what was moved between them as curves, as wide as the bytes."""
    names = list(dict.fromkeys([site.name for site in report.sites]))[:MOST_ROWS]
    known = {site.name: site for site in report.sites}
    rows = {name: number for number, name in enumerate(names)}
    moved = [t for t in report.transfers if t.source != t.target and t.source in rows and t.target in rows]
    moved.sort(key=lambda transfer: rows[transfer.source] + rows[transfer.target])
    most = max((transfer.bytes for transfer in moved), default=0) or 1
    parts: list[str] = []
    label_y = 0.0
    for number, transfer in enumerate(moved):
        y1, y2 = rows[transfer.source] * 70 + 32, rows[transfer.target] * 70 + 32
        label_y = max(label_y + _LINE, (y1 + y2) / 2 + 4)
        parts.append(_curve(transfer, (y1, y2), 2 + 16 * transfer.bytes / most, number))
        parts.append(_text(490, label_y, _moved(transfer, _NAME // 2)))
    for name, row in rows.items():
        parts += _site(known[name], row)
    height = max(70 * max(1, len(names)), label_y + _LINE)
    return svg("sites and what was moved between them", height, parts, style)


def _site(site: SitePart, row: int) -> Iterator[str]:
    y = row * 70 + 8
    failed = f", {site.failed} failed" if site.failed else ""
    yield f'<rect class="site" x="4" y="{y}" width="330" height="48" rx="6"/>'
    yield _text(14, y + 20, _name(site.name) + (f" ({', '.join(site.kinds)})" if site.kinds else ""))
    hours, nodes = core_hours_in_words(site.core_s / 3600), counted(site.nodes, "node")
    yield _text(14, y + 38, f"{counted(site.jobs, 'job')}{failed}, {hours}, {nodes}")


def _moved(transfer: Transfer, most: int) -> str:
    """:param most: letters of a site's name."""
    rate = f" at {size(transfer.bytes / transfer.seconds)}/s" if transfer.seconds > 0 else ""
    moved = f"{size(transfer.bytes)} ({counted(transfer.files, 'file')}, {transfer.route}){rate}"
    return f"{_name(transfer.source, most)} to {_name(transfer.target, most)}: {moved}"


def _curve(transfer: Transfer, ends: tuple[float, float], width: float, number: int) -> str:
    y1, y2 = ends
    reach = 380 + 40 * (number % 4)
    path = f'<path class="flow" d="M334 {y1} C {reach} {y1} {reach} {y2} 334 {y2}" stroke-width="{width:.1f}"><title>'
    return f"{path}{escaped(_moved(transfer, _LONGEST))}</title></path>"


def boxes(title: str, unit: str, rows: Sequence[tuple[str, Sequence[float], float | None]]) -> str:
    """Box plots: least, quarter, median, three quarters and most of what jobs used; a line for what was asked for."""
    shown = [(name, sorted(values), asked) for name, values, asked in rows if values][:MOST_ROWS]
    if not shown:
        return ""
    most = max(max(values[-1], asked or 0.0) for _, values, asked in shown) or 1.0
    parts: list[str] = []
    for row, (name, values, asked) in enumerate(shown):
        parts += _box(name, values, asked, row * _ROW, _PLOT / most)
    foot = len(shown) * _ROW
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{foot}" x2="{_LEFT + _PLOT}" y2="{foot}"/>')
    parts += [_text(_LEFT, foot + 16, "0"), _text(_LEFT + _PLOT, foot + 16, f"{most:.4g} {unit}", "end")]
    return svg(title, foot + _ROW, parts)


def _box(name: str, values: Sequence[float], asked: float | None, y: float, scale: float) -> Iterator[str]:
    least, quarter, median, three, most = (_LEFT + _at(values, share) * scale for share in (0, 0.25, 0.5, 0.75, 1))
    yield _text(_LEFT - 8, y + 16, _name(name), "end")
    yield f'<line class="axis" x1="{least:.1f}" y1="{y + 12}" x2="{most:.1f}" y2="{y + 12}"/>'
    yield f'<rect class="box" x="{quarter:.1f}" y="{y + 5}" width="{max(three - quarter, 1):.1f}" height="14"/>'
    yield f'<line class="mid" x1="{median:.1f}" y1="{y + 5}" x2="{median:.1f}" y2="{y + 19}"/>'
    if asked is not None:
        x = _LEFT + asked * scale
        yield f'<line class="ask" x1="{x:.1f}" y1="{y + 2}" x2="{x:.1f}" y2="{y + 22}"/>'


def _at(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the values are, interpolated."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
