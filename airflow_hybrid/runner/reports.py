# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The report about a runner's run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_hybrid import settings
from airflow_hybrid.errors import HybridError
from airflow_hybrid.printable import printable
from airflow_hybrid.reports.files import content, format_of
from airflow_hybrid.reports.footprint import constants_of
from airflow_hybrid.reports.values import RunReport


def report_of(dag_id: str, run_id: str) -> RunReport:
    """The report about a run that has ended.

    :raises HybridError: too little is known of it.
    """
    from airflow.utils.session import create_session

    from airflow_hybrid.runs.jobs import RunKey
    from airflow_hybrid.runs.reporting import report_of_run

    with create_session() as session:
        return report_of_run(session, RunKey(dag_id, run_id))


def write_report(report: RunReport, path: str, prog: str) -> None:
    """Write a report in the format that the file's name says.

    :raises HybridError: it cannot be written.
    """
    try:
        os.makedirs(Path(path).absolute().parent, exist_ok=True)  # a run without files makes no folder for outputs
        Path(path).write_bytes(content(report, format_of(path), constants_of(settings.current())))
    except OSError as error:
        raise HybridError(
            f"the report about the run cannot be written: {error.strerror or error}", where=path
        ) from None
    print(f"{prog}: the report about the run is {printable(os.path.abspath(path))}", file=sys.stderr)
