# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A report as CSV (a row for each job) and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, fields

from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.reports.footprint import METHOD, Constants, Footprint
from airflow_hybrid.reports.values import NOT_RUN, RunReport

_SIGNS = r"=+@\-\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"[{_SIGNS}\t\r]")
"""a cell that begins so is a formula for a spreadsheet, with the wide signs of East Asia, too"""
_AFTER_SEMICOLON = re.compile(rf";(?=[{_SIGNS}])")
"""where a comma is the decimal sign, spreadsheets begin another cell at a semicolon"""


def jobs_csv(report: RunReport) -> str:
    """A row for each job, and for each step that was not run. Texts that a spreadsheet would evaluate begin with an
    apostrophe, or with a space after a semicolon.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ["name", *(field.name for field in fields(JobRecord))]
    writer.writerow(names)
    for job in report.jobs:
        value = _plain(job)
        writer.writerow([_cell(value[name]) for name in names])
    for step in report.steps:
        if step.state == NOT_RUN and step.kind != "workflow":
            about = {"name": step.path, "step": step.path, "state": step.state, "reason": step.because}
            writer.writerow([_cell(about.get(name, "")) for name in names])
    return stream.getvalue()


def _plain(job: JobRecord) -> dict[str, object]:
    known = {field.name: getattr(job, field.name) for field in fields(JobRecord)}  # it has slots
    return {"name": job.name, **known, "state": job.state.value}


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = _AFTER_SEMICOLON.sub("; ", value)
    return f"'{text}" if _FORMULA.match(text) else text


def as_json(report: RunReport, used: Footprint, constants: Constants) -> str:
    """All values of a report."""
    value = asdict(report)
    value["jobs"] = [_plain(job) for job in report.jobs]
    value["core_hours"] = round(report.core_hours, 4)
    rows = {constant.name: {"value": constant.value, "source": constant.source} for constant in constants.rows()}
    value["footprint"] = {**asdict(used), "method": METHOD, "constants": rows}
    return json.dumps(value, indent=1) + "\n"
