# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid data RUN``: the files of a run: where they are, how large, and how they came there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg

from airflow_hybrid.amounts import counted, size
from airflow_hybrid.cli.jobs import ARG_DAG, ARG_RUN

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_hybrid.overviews.files import RunData, RunFile

_Arg: Any = Arg  # it has no type hints
ARG_STEP = _Arg(
    ("-s", "--step"),
    help="only files of the tasks of this step (a path: /align, or /qc for all below it), without the sums",
)
ARG_ROLE = _Arg(("--role",), choices=("input", "output", "replica"), help="only files of this role, without the sums")


def data_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="data",
        help="Show the files of a run: where they are, and how they came there",
        description="Show what the tasks of a DAG run have recorded of files: inputs, outputs, and copies of them at"
        " sites (replicas), with size, checksum and route; and the sums of each site. No site is asked.",
        func=show_data,
        args=(ARG_RUN, ARG_DAG, ARG_STEP, ARG_ROLE, ARG_OUTPUT),
    )


def show_data(args: argparse.Namespace) -> None:
    """Print the files of a run in one of Airflow's formats."""
    from airflow.utils.session import create_session

    from airflow_hybrid.cli.printing import print_rows
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.overviews.files import as_json
    from airflow_hybrid.overviews.steps import tasks_of_step
    from airflow_hybrid.printable import printable
    from airflow_hybrid.runs.data import data_of_run
    from airflow_hybrid.runs.jobs import find_run
    from airflow_hybrid.runs.outline import outline_of_run

    try:
        with create_session() as session:
            run = find_run(session, args.run_id, args.dag_id)
            data = data_of_run(session, run)
            of_step = None if args.step is None else tasks_of_step(outline_of_run(session, run), args.step)
    except HybridError as error:
        raise SystemExit(str(error)) from None
    for task, problem in data.unread:
        sys.stderr.write(f"the files of task {printable(task)} are not shown: {printable(problem)}\n")
    wanted = [file for file in data.files if args.role in (None, file.role)]
    if of_step is not None:
        wanted = [file for file in wanted if file.task_id in of_step]
    print_rows([as_json(file) for file in wanted], args.output, [row(file) for file in wanted])
    if args.output == "table" and args.role is None and of_step is None:
        sys.stdout.write("".join(f"{line}\n" for line in sum_lines(data)))


def row(file: RunFile) -> dict[str, str]:
    """A file as a row for people."""
    from airflow_hybrid.printable import printable

    return {
        "role": file.role,
        "task": printable(file.task_id),
        "site": printable(file.site),
        "path": printable(file.path),
        "size": size(file.size),
        "checksum": printable(file.checksum[:17]),
        "route": printable(file.route),
        "from": printable(file.source),
    }


def sum_lines(data: RunData) -> Iterator[str]:
    """``hpc: 12 files, 3.4 GB; moved there: 1.2 GB for steps``, for each site."""
    from airflow_hybrid.overviews.files import sums
    from airflow_hybrid.printable import printable

    for total in sums(data):
        files = counted(total.files, "file")
        moved = [f"{size(total.moved)} for steps"] if total.moved else []
        if total.gathered:
            moved.append(f"{size(total.gathered)} as outputs, to the output folder")
        words = f"; moved there: {', '.join(moved)}" if moved else ""
        yield f"{printable(total.site)}: {files}, {size(total.bytes)}{words}"
