# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Pictures of a run as SVG: its timeline, sites with transfers, and what was used of what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_hybrid.amounts import duration, size
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.reports.texts import escaped
from airflow_hybrid.reports.values import RunReport, SitePart, StepPart

_WIDTH = 960
_ANCHORS = {0: "start", 4: "end"}
_LEFT = 230
_ROW = 24
_PLOT = _WIDTH - _LEFT - 20
MOST_ROWS = 200
"""steps in a picture"""
_NAME = 32
STYLE = """\
svg{max-width:100%;height:auto;font:12px sans-serif}
svg text{fill:#222}svg .wait{fill:#b9bec6}svg .run{fill:#2f6fb3}svg .bad{fill:#c23b3b}svg .axis{stroke:#999}
svg .box{fill:#2f6fb3;fill-opacity:.35;stroke:#2f6fb3}svg .mid{stroke:#1d4670;stroke-width:2}
svg .ask{stroke:#c26a1a;stroke-width:2}
svg .site{fill:#e8eef5;stroke:#2f6fb3}svg .flow{fill:none;stroke:#2f8f5b;stroke-opacity:.6}"""
DARK = "svg text{fill:#ddd}svg .site{fill:#26313d}svg .mid{stroke:#9cc4ee}"


def svg(title: str, height: float, parts: Sequence[str], *, alone: bool = False) -> str:
    """A picture.

    :param alone: as a file of its own, with its style.
    """
    style = f"<style>{STYLE}@media(prefers-color-scheme:dark){{{DARK}}}</style>" if alone else ""
    space = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    label = escaped(title)
    start = f'<svg{space} viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{label}"><title>{label}</title>'
    return f"{start}{style}{''.join(parts)}</svg>"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def _name(path: str) -> str:
    return path if len(path) <= _NAME else f"...{path[-_NAME + 3 :]}"


def timeline(report: RunReport, *, alone: bool = False) -> str:
    """When the jobs of each step waited and ran."""
    steps = [step for step in report.steps if step.finished is not None or step.began is not None][:MOST_ROWS]
    times = [t for step in steps for t in (step.submitted, step.began, step.finished) if t is not None]
    if not times:
        return svg("timeline", _ROW, [_text(0, 16, "no step has begun")], alone=alone)
    first, last = min(times), max(times)
    scale = _PLOT / max(last - first, 1e-3)
    parts: list[str] = []
    for row, step in enumerate(steps):
        parts += _bars(step, row * _ROW, first, last, scale)
    foot = len(steps) * _ROW
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{foot}" x2="{_LEFT + _PLOT}" y2="{foot}"/>')
    for tick in range(5):
        x = _LEFT + _PLOT * tick / 4
        label = duration((last - first) * tick / 4)
        parts.append(_text(x, foot + 16, label, _ANCHORS.get(tick, "middle")))
    return svg(f"timeline of {report.run_id}", foot + _ROW, parts, alone=alone)


def _bars(step: StepPart, y: float, first: float, last: float, scale: float) -> Iterator[str]:
    began = step.began if step.began is not None else step.finished
    finished = step.finished if step.finished is not None else last
    assert began is not None
    yield _text(_LEFT - 8, y + 16, _name(step.path), "end")
    if step.submitted is not None and step.submitted < began:
        yield _bar("wait", _LEFT + (step.submitted - first) * scale, y, (began - step.submitted) * scale, "")
    about = f"{step.path}: {step.succeeded} succeeded, {step.failed} failed, {duration(finished - began)}"
    yield _bar("bad" if step.failed else "run", _LEFT + (began - first) * scale, y, (finished - began) * scale, about)


def _bar(kind: str, x: float, y: float, width: float, about: str) -> str:
    inner = f"<title>{escaped(about)}</title>" if about else ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y + 4:.1f}" width="{max(width, 1.5):.1f}" height="16">{inner}</rect>'


def sites(report: RunReport) -> str:
    """Sites as boxes; what was moved between them as curves, as wide as the bytes."""
    names = list(dict.fromkeys([site.name for site in report.sites]))[:MOST_ROWS]
    known = {site.name: site for site in report.sites}
    rows = {name: number for number, name in enumerate(names)}
    moved = [t for t in report.transfers if t.source != t.target and t.source in rows and t.target in rows]
    most = max((transfer.bytes for transfer in moved), default=0) or 1
    parts = [_curve(transfer, rows, most, number) for number, transfer in enumerate(moved)]
    for name, row in rows.items():
        parts += _site(known[name], row)
    return svg("sites and what was moved between them", max(1, len(names)) * 70, parts)


def _site(site: SitePart, row: int) -> Iterator[str]:
    y = row * 70 + 8
    failed = f", {site.failed} failed" if site.failed else ""
    yield f'<rect class="site" x="4" y="{y}" width="330" height="48" rx="6"/>'
    yield _text(14, y + 20, _name(site.name) + (f" ({', '.join(site.kinds)})" if site.kinds else ""))
    yield _text(14, y + 38, f"{site.jobs} jobs{failed}, {site.core_s / 3600:.2f} core-hours, {site.nodes} nodes")


def _curve(transfer: Transfer, rows: dict[str, int], most: int, number: int) -> str:
    y1, y2 = rows[transfer.source] * 70 + 32, rows[transfer.target] * 70 + 32
    reach = 380 + 40 * (number % 4)
    width = 2 + 16 * transfer.bytes / most
    rate = f" at {size(transfer.bytes / transfer.seconds)}/s" if transfer.seconds > 0 else ""
    moved = f"{size(transfer.bytes)} ({transfer.files} files, {transfer.route}){rate}"
    about = f"{transfer.source} to {transfer.target}: {moved}"
    path = f'<path class="flow" d="M334 {y1} C {reach} {y1} {reach} {y2} 334 {y2}" stroke-width="{width:.1f}"><title>'
    label = _text(490, (y1 + y2) / 2 + 14 * (number % 3) - 8, about)
    return f"{path}{escaped(about)}</title></path>{label}"


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
