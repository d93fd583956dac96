# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A report as one HTML file: no scripts, nothing from elsewhere, and a policy that forbids both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from airflow_hybrid.amounts import counted, duration, size
from airflow_hybrid.reports import drawing, figures
from airflow_hybrid.reports.footprint import METHOD, Constants, Footprint
from airflow_hybrid.reports.tables import jobs_csv
from airflow_hybrid.reports.texts import escaped
from airflow_hybrid.reports.values import RunReport

MOST_JOBS = 1000
"""rows in the page's table; the CSV in it has all"""
MOST_FILES = 500
MOST_CSV_BYTES = 8 << 20
_STYLE = (
    """\
:root{color-scheme:light dark}body{font:15px/1.45 sans-serif;margin:1.5rem auto;max-width:1080px;padding:0 1rem;
background:#fff;color:#222}table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .6rem;text-align:left;
border-bottom:1px solid #ccc;vertical-align:top;overflow-wrap:anywhere}.wide{overflow-x:auto}.bad{color:#b3261e}
h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}dl{display:grid;grid-template-columns:
max-content 1fr;gap:.2rem 1rem}dd{margin:0;overflow-wrap:anywhere}
"""
    + drawing.STYLE
    + """
@media(prefers-color-scheme:dark){body{background:#16191d;color:#ddd}td,th{border-color:#444}.bad{color:#f28b82}a{color:#9cc4ee}
"""
    + drawing.DARK
    + "}\n"
)


_COLOURS = "<p>grey: in the queue; blue: running; red: some jobs failed</p>"


def page(report: RunReport, used: Footprint, constants: Constants) -> str:
    """The file's text."""
    style_hash = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'"
    title, subtitle = escaped(report.heading), escaped(report.subtitle)
    head = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy"'
        f' content="{policy}"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}, {subtitle}</title>"
        f"<style>{_STYLE}</style></head>"
    )
    sections = [
        _summary(report, used),
        _section("Sites and transfers", drawing.sites(report) + _transfers(report)),
        _section("Timeline", drawing.timeline(report) + _COLOURS),
        _section("Steps", _steps(report)),
        _section("Used and asked for", _boxes(report)),
        _section("Waits and failures", table(figures.REASONS, figures.reasons(report)[:MOST_JOBS]))
        if report.reasons
        else "",
        _section("Failed jobs", _failures(report)) if report.failures else "",
        _section("Made again", _made_again(report)) if report.made_again else "",
        _section("Outputs", _outputs(report)),
        _section("Jobs", _jobs(report)),
        _section("Energy", _energy(used, constants)),
    ]
    return f"{head}<body><h1>{title}</h1><p>{subtitle}</p>{''.join(sections)}</body></html>\n"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escaped(title)}</h2>{content}</section>" if content else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all texts are escaped here."""
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    top = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in head)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _summary(report: RunReport, used: Footprint) -> str:
    problems = [("not shown", problem) for problem in report.problems]
    facts = [*figures.about(report), *figures.sums(report, used), *problems]
    return "<dl>" + "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in facts) + "</dl>"


def _energy(used: Footprint, constants: Constants) -> str:
    """The method of the estimate, and what it was made with."""
    method = f"Energy and CO2 equivalent are estimates by the method of {METHOD}."
    if used.without_use:
        method += f" Of {counted(used.jobs, 'job')}, {used.without_use:,} count with all cores that they asked for."
    rows = [(constant.about, f"{constant.value:g}", constant.source) for constant in constants.rows()]
    return f"<p>{escaped(method)}</p>" + table(("constant", "value", "from"), rows)


def _transfers(report: RunReport) -> str:
    rows = figures.transfers(report)
    return table(figures.TRANSFERS, rows) if rows else "<p>Nothing was moved.</p>"


def _steps(report: RunReport) -> str:
    rows = [
        (row[0], step.state_and_reason, *row[2:]) for row, step in zip(figures.steps(report), report.steps, strict=True)
    ]
    return table(figures.STEPS, rows) if rows else ""


def _boxes(report: RunReport) -> str:
    memory = [(step.path, step.memory_mib, step.memory_asked_mib) for step in report.steps]
    plots = [
        ("cores", drawing.boxes("cores used", "cores", [(s.path, s.cores, s.cores_asked) for s in report.steps])),
        (
            "memory",
            drawing.boxes("memory used", "MiB", memory),
        ),
        ("time", drawing.boxes("time", "s", [(s.path, s.seconds, None) for s in report.steps])),
    ]
    drawn = "".join(f"<h3>{name}</h3>{plot}" for name, plot in plots if plot)
    return f"{drawn}<p>orange: asked for by the document</p>" if drawn else ""


def _failures(report: RunReport) -> str:
    return table(figures.FAILURES, figures.failures(report)[:MOST_JOBS])


def _made_again(report: RunReport) -> str:
    """What was lost: whose jobs ran again and why, and where the files are now."""
    files = _files(figures.RENEWED, figures.renewed(report)) if report.renewed else ""
    return table(figures.MADE_AGAIN, figures.made_again(report)[:MOST_JOBS]) + files


def _outputs(report: RunReport) -> str:
    rows = [(output.path, size(output.size), output.checksum) for output in report.outputs]
    return _files(("file", "size", "checksum"), rows) if rows else "<p>There are none.</p>"


def _files(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    more = len(rows) - MOST_FILES
    rest = f"<p>and {counted(more, 'more file')}</p>" if more > 0 else ""
    return table(head, rows[:MOST_FILES]) + rest


def _jobs(report: RunReport) -> str:
    rows = [
        (
            job.name,
            f"{job.deployment}/{job.service}" if job.service else job.deployment,
            job.node,
            "reused" if job.reused else job.state.value,
            duration(job.waited_s),
            duration(job.seconds),
            duration(job.cpu_s),
            "" if job.memory_used_mib is None else f"{job.memory_used_mib} MiB",
        )
        for job in report.jobs[:MOST_JOBS]
    ]
    head = ("job", "place", "node", "state", "waited", "ran", "processor time", "memory")
    note = (
        f"<p>The first {MOST_JOBS} of {counted(len(report.jobs), 'job')}.</p>" if len(report.jobs) > MOST_JOBS else ""
    )
    return table(head, rows) + note + _csv_link(report)


def _csv_link(report: RunReport) -> str:
    content = jobs_csv(report).encode(errors="backslashreplace")
    if len(content) > MOST_CSV_BYTES:
        return "<p>All jobs: airflow hybrid report RUN -o jobs.csv</p>"
    data = base64.b64encode(content).decode()
    return f'<p><a download="jobs.csv" href="data:text/csv;base64,{data}">All jobs as CSV</a></p>'
