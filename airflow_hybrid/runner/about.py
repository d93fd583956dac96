# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files about a run that a user asks for: its record (``--prov``) and reports (``--report``).

The run's results do not depend on them: what cannot be written is told, and nothing else changes.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.runner.beside import free_path

if TYPE_CHECKING:
    from airflow_hybrid.dag.hybrid_dag import HybridDag
    from airflow_hybrid.runner.dag_run import RunResult

_REPORT, _PROV = "--report", "--prov"


def check_targets(args: argparse.Namespace) -> None:
    """Check before the first job that the files can be written.

    :raises ConfigError: one cannot, or two of them are the same file.
    """
    targets = [(_REPORT, path) for path in args.report or ()]
    if args.prov is not None:
        targets.append((_PROV, args.prov))
    used: dict[str, str] = {}
    for option, path in targets:
        if option == _REPORT:
            _check_format(path)
        _check_place(option, path, os.path.abspath(args.outdir))
        other = used.setdefault(os.path.realpath(path), option)
        if other != option:
            raise ConfigError(f"{other} names the same file", where=f"{option} {path}", hint="give each its own file")


def _check_format(path: str) -> None:
    from airflow_hybrid.reports.files import format_of

    try:
        format_of(path)
    except ConfigError as error:
        error.where = _REPORT
        raise


def _check_place(option: str, path: str, outdir: str) -> None:
    """:param outdir: the run may make it; whether it can is checked elsewhere."""
    target = Path(path).absolute()
    what = "report" if option == _REPORT else "crate"
    if target.is_dir():
        raise ConfigError(f"the {what} cannot be written: {target} is a folder", where=option)
    if str(target.parent) == outdir and not os.path.lexists(outdir):
        return
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise ConfigError(f"the {what} cannot be written: {target.parent} is no folder, or not writable", where=option)


def write_about(args: argparse.Namespace, dag: HybridDag, result: RunResult, prog: str) -> None:
    """Write the files about a run that has ended, whether it succeeded or failed; what goes wrong is only told."""
    if args.prov is not None:
        _tried("record", functools.partial(_write_record, args, dag, result, prog), args, prog)
    if args.report:
        _tried("report", functools.partial(_write_reports, args, dag, result, prog), args, prog)


def _tried(what: str, write: Callable[[], None], args: argparse.Namespace, prog: str) -> None:
    try:
        write()
    except HybridError as error:
        print(f"{prog}: the {what} of the run is not written: {error}", file=sys.stderr)
    except Exception as error:  # whatever it is: the run has ended, and what it made must not be lost
        if args.verbose:
            traceback.print_exception(error)
        print(
            f"{prog}: the {what} of the run is not written: {type(error).__name__}: {error}\n"
            "  -> the run itself is not affected; this error is unexpected: report it with what --verbose prints",
            file=sys.stderr,
        )


def _write_record(args: argparse.Namespace, dag: HybridDag, result: RunResult, prog: str) -> None:
    from airflow_hybrid.runner.crates import write_record

    args.prov = free_path(args.prov, result.outputs, prog)
    os.makedirs(Path(args.prov).absolute().parent, exist_ok=True)  # a run without files makes no folder for outputs
    write_record(args, dag, result, prog)


def _write_reports(args: argparse.Namespace, dag: HybridDag, result: RunResult, prog: str) -> None:
    from airflow_hybrid.runner.reports import report_of, write_report

    report = report_of(dag.dag_id, result)
    for path in dict.fromkeys(args.report):
        target = free_path(path, result.outputs, prog)
        _tried("report", functools.partial(write_report, report, target, prog), args, prog)
