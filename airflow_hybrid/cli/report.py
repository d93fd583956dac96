# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid report RUN``: a run as HTML or PDF, its timeline as PNG or SVG, or its values."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg

from airflow_hybrid.cli.jobs import ARG_DAG, ARG_RUN

if TYPE_CHECKING:
    import argparse


_Arg: Any = Arg  # it has no type hints
ARG_FILE = _Arg(
    ("-o", "--output"),
    metavar="FILE",
    help="file to write, by its ending: .html (a page), .pdf (to print), .png or .svg (the timeline), .csv (the jobs),"
    " .json (all values); default: DAG-RUN.html in the current folder",
)
_CONSTANTS = {
    "core_watts": "power of a core in use, in watts",
    "memory_watts": "power of a GB of memory, in watts",
    "pue": "power of the data centre by that of its computers",
    "grams_per_kwh": "CO2 equivalent of a kWh, in grams",
}


def _constant(name: str) -> Callable[[str], float]:
    """Reads the value of an option by the rules of the setting with this name."""

    def read(text: str) -> float:
        from airflow_hybrid.settings import value_of

        try:
            value: float = value_of(name, text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None
        return value

    return read


ARGS_OF_CONSTANTS = tuple(
    _Arg(
        (f"--{name.replace('_', '-')}",),
        type=_constant(name),
        help=f"{about} (default: the setting `{name}` in Airflow's section [airflow_hybrid])",
    )
    for name, about in _CONSTANTS.items()
)


def report_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="report",
        help="Write a report about a run: one HTML file, or PDF, PNG, SVG, CSV, JSON",
        description="Write a report about a DAG run as one file without scripts that needs no server: sites and"
        " transfers, timeline, what was used of what was asked for, jobs, outputs, failures, core-hours and an estimate"
        " of the CO2 equivalent.",
        func=write_report,
        args=(ARG_RUN, ARG_DAG, ARG_FILE, *ARGS_OF_CONSTANTS),
    )


def write_report(args: argparse.Namespace) -> None:
    """Write the file, and print its name."""
    from airflow.utils.session import create_session

    from airflow_hybrid import settings
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.reports.files import content, format_of
    from airflow_hybrid.reports.footprint import constants_of
    from airflow_hybrid.runs.jobs import find_run
    from airflow_hybrid.runs.reporting import report_of_run

    try:
        ending = format_of(args.output or "run.html")
        constants = constants_of(settings.current(), {name: getattr(args, name) for name in _CONSTANTS})
        with create_session() as session:
            run = find_run(session, args.run_id, args.dag_id)
            report = report_of_run(session, run)
        data = content(report, ending, constants)
    except HybridError as error:
        raise SystemExit(str(error)) from None
    path = args.output or re.sub(r"[^A-Za-z0-9._-]+", "_", f"{run.dag_id}-{run.run_id}") + ".html"
    try:
        with open(path, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from None
    sys.stdout.write(f"{path}\n")
