# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the documents of a report show, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_hybrid.amounts import co2e, core_hours, energy, size
from airflow_hybrid.reports import drawing, figures
from airflow_hybrid.reports.footprint import METHOD, Constants, Footprint
from airflow_hybrid.reports.texts import shown, when
from airflow_hybrid.reports.values import RunReport, SitePart

MOST_ROWS = 200
"""rows of a table"""
MOST_FAILURES = 50
_MOST_SITES_DRAWN = 5
"""sites whose picture fits on a page"""
_STEPS_OF_PICTURES = (11, 22)
"""steps of the timeline that fit on the first page, and on each of the others"""
_STYLE = drawing.STYLE.replace("12px sans-serif", "13px Libertinus Serif")


def timeline_values(report: RunReport) -> dict[str, Any]:
    """The document with the timeline alone."""
    return {**_head(report), "picture": drawing.timeline(report, _STYLE)}


def report_values(report: RunReport, used: Footprint, constants: Constants) -> dict[str, Any]:
    """The document to print."""
    draws_sites = len(report.sites) <= _MOST_SITES_DRAWN
    made_with = "; ".join(f"{constant.about} {constant.value:g}" for constant in constants.rows())
    return {
        **_head(report),
        "facts": [[name, shown(text)] for name, text in figures.about(report) if name != "took"],
        "figures": _figures(report, used),
        "problems": [shown(problem) for problem in report.problems[:MOST_ROWS]],
        "timelines": list(drawing.timelines(report, _STEPS_OF_PICTURES, _STYLE)),
        "picture_of_sites": drawing.sites(report, _STYLE) if draws_sites and report.sites else "",
        "sites": _table([] if draws_sites else map(_site, report.sites)),
        "transfers": _table(figures.transfers(report)),
        "steps": _table(figures.steps(report)),
        "reasons": _table(figures.reasons(report)),
        "made_again": _table(figures.made_again(report), MOST_FAILURES),
        "renewed": _table(figures.renewed(report), MOST_FAILURES),
        "failures": _table(figures.failures(report), MOST_FAILURES),
        "energy": f"Energy and CO2 equivalent are estimates by the method of {METHOD}; {made_with}.",
    }


def _head(report: RunReport) -> dict[str, Any]:
    began = when(report.began)
    parts = [report.state, began and f"began {began}", f"took {figures.took(report)}"]
    line = shown(", ".join(part for part in parts if part))
    names = {"title": shown(report.heading), "subtitle": shown(report.subtitle), "state": shown(report.state)}
    return {**names, "line": line, "at": int(report.made_at or 0)}


def _figures(report: RunReport, used: Footprint) -> list[list[str]]:
    """Numbers at a glance: what, and how much."""
    return [
        ["took" if report.ended is not None else "so far", figures.took(report).removesuffix(" until then")],
        ["jobs", f"{len(report.jobs):,}"],
        ["failed", f"{len(report.failures):,}"],
        ["core-hours", core_hours(report.core_hours)],
        ["moved between sites", size(figures.moved(report))],
        ["energy (estimate)", energy(used.kwh)],
        ["CO2e (estimate)", co2e(used.co2e_g)],
    ]


def _table(rows: Iterable[Sequence[str]], most: int = MOST_ROWS) -> dict[str, Any]:
    """Rows of texts, and how many more there are."""
    texts = [[shown(cell) for cell in row] for row in rows]
    return {"rows": texts[:most], "left_out": max(0, len(texts) - most)}


def _site(site: SitePart) -> Sequence[str]:
    kinds = ", ".join(site.kinds)
    return (site.name, kinds, f"{site.jobs:,}", f"{site.failed:,}", f"{site.nodes:,}", core_hours(site.core_s / 3600))
