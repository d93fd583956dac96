# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid prov RUN``: a record of a run to hand on, as a Workflow Run RO-Crate."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg

from airflow_hybrid.cli.jobs import ARG_DAG, ARG_RUN

if TYPE_CHECKING:
    import argparse

_Arg: Any = Arg  # it has no type hints
ARG_FILE = _Arg(("-f", "--file"), help="write to this file (default: RUN.crate.zip in the current folder)")
ARG_WITH_OUTPUTS = _Arg(("--with-outputs",), action="store_true", help="the record has copies of the output files")
ARG_WITH_INPUTS = _Arg(("--with-inputs",), action="store_true", help="the record has copies of the input files")
ARG_MOST = _Arg(("--most-mib",), type=int, default=4096, help="most that all copies may have, in MiB (4096)")
_SHOWN = 10
_WHY = "it is not on this machine, has no checksum, or is a folder without a listing"


def prov_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="prov",
        help="Write a record of a run to hand on (a Workflow Run RO-Crate)",
        description="Write a record of a DAG run that has ended, as a zip file: its document, steps, jobs with their"
        " times and places, files with their checksums, and what they were made of. It is a Workflow Run RO-Crate"
        " (profile Provenance Run Crate), and `airflow hybrid run FILE` runs it again. Files are referred to; options"
        " add copies of them. Call it on a machine that has the DAG's file.",
        func=write_record,
        args=(ARG_RUN, ARG_DAG, ARG_FILE, ARG_WITH_OUTPUTS, ARG_WITH_INPUTS, ARG_MOST),
    )


def write_record(args: argparse.Namespace) -> None:
    """Write the crate of a run."""
    from airflow.utils.session import create_session

    from airflow_hybrid.crates.crate import CrateOptions, write_crate
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.printable import printable
    from airflow_hybrid.runs.jobs import find_run
    from airflow_hybrid.runs.recorded import dag_of_run, facts_from_database
    from airflow_hybrid.sites.files.nofollow import opened

    options = CrateOptions(args.with_outputs, args.with_inputs, args.most_mib << 20)
    try:
        with create_session() as session:
            run = find_run(session, args.run_id, args.dag_id)
            facts = facts_from_database(session, run, dag_of_run(session, run))
        path = args.file or re.sub(r"[^A-Za-z0-9._-]+", "_", f"{run.dag_id}-{run.run_id}") + ".crate.zip"
        written = write_crate(facts, path, opened, options)
    except HybridError as error:
        raise SystemExit(str(error)) from None
    for location in written.elsewhere[:_SHOWN]:
        sys.stderr.write(f"the record only refers to {printable(location)}: {_WHY}\n")
    if len(written.elsewhere) > _SHOWN:
        sys.stderr.write(f"... and to {len(written.elsewhere) - _SHOWN} more\n")
    sys.stdout.write(f"{written.path}\n")
