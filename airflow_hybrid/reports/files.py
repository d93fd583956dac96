# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A report as the content of a file, in each format."""

from __future__ import annotations

import os

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.reports.drawing import ALONE, timeline
from airflow_hybrid.reports.footprint import Constants, footprint
from airflow_hybrid.reports.page import page
from airflow_hybrid.reports.tables import as_json, jobs_csv
from airflow_hybrid.reports.typesetting.renderer import check_installed, typeset
from airflow_hybrid.reports.typesetting.values import report_values, timeline_values
from airflow_hybrid.reports.values import RunReport

FORMATS = (".html", ".pdf", ".png", ".svg", ".csv", ".json")
_TYPESET = (".pdf", ".png")
_LONGEST_NAME = 200


def format_of(path: str) -> str:
    """The format that the ending of a file's name means.

    :raises ConfigError: none, or one that needs a package that is not installed.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        name = printable(shortened(path, _LONGEST_NAME))
        raise ConfigError(f"{name}: the ending says what is written: {', '.join(FORMATS)}")
    if ending in _TYPESET:
        check_installed()
    return ending


def content(report: RunReport, ending: str, constants: Constants) -> bytes:
    """What a file with the report has.

    :param ending: one of :data:`FORMATS`.
    :raises HybridError: PDF or PNG cannot be made.
    """
    if ending == ".pdf":
        return typeset("report", report_values(report, footprint(report.jobs, constants), constants), "pdf")
    if ending == ".png":
        return typeset("timeline", timeline_values(report), "png")
    if ending == ".csv":
        text = jobs_csv(report)
    elif ending == ".svg":
        text = timeline(report, ALONE) + "\n"
    elif ending == ".json":
        text = as_json(report, footprint(report.jobs, constants), constants)
    else:
        text = page(report, footprint(report.jobs, constants), constants)
    return text.encode(errors="backslashreplace")
