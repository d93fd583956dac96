# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The report about a runner's run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_hybrid import settings
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.printable import printable
from airflow_hybrid.reports.files import content, format_of
from airflow_hybrid.reports.footprint import constants_of

_OPTION = "--report"


def check_report(path: str) -> None:
    """Check before the run that its report can be written.

    :raises ConfigError: it cannot.
    """
    try:
        format_of(path)
    except ConfigError as error:
        error.where = _OPTION
        raise
    folder = Path(path).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"the report cannot be written: {folder} is no folder, or not writable", where=_OPTION)


def write_report(path: str, dag_id: str, run_id: str, prog: str) -> None:
    """Write the report about a run that has ended.

    :raises HybridError: it cannot be written.
    """
    from airflow.utils.session import create_session

    from airflow_hybrid.runs.jobs import RunKey
    from airflow_hybrid.runs.reporting import report_of_run

    with create_session() as session:
        report = report_of_run(session, RunKey(dag_id, run_id))
    try:
        Path(path).write_bytes(content(report, format_of(path), constants_of(settings.current())))
    except OSError as error:
        raise HybridError(
            f"the report about the run cannot be written: {error.strerror or error}", where=path
        ) from None
    print(f"{prog}: the report about the run is {printable(os.path.abspath(path))}", file=sys.stderr)
