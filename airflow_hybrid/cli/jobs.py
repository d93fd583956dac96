# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid jobs RUN``: where the jobs of a run ran, how they ended, and how far the others are."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg

from airflow_hybrid.amounts import counted, duration, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_hybrid.model.records import BatchProgress, JobRecord
    from airflow_hybrid.overviews.tasks import RunJobs

_Arg: Any = Arg  # it has no type hints
ARG_RUN = _Arg(("run_id",), help="id of the DAG run")
ARG_DAG = _Arg(("-d", "--dag-id"), help="its DAG, where several have a run of that id")
ARG_STEP = _Arg(("-s", "--step"), help="only jobs of this step (a path: /align, or /qc for all below it)")
ARG_FAILED = _Arg(("--failed",), action="store_true", help="only jobs that did not succeed")


def jobs_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="jobs",
        help="Show where the jobs of a run ran and how they ended",
        description="Show the jobs of a DAG run: step, place, node, state, how long each waited and ran, what it"
        " used, and the scheduler's id; and how far the batches are that have not ended.",
        func=show_jobs,
        args=(ARG_RUN, ARG_DAG, ARG_STEP, ARG_FAILED, ARG_OUTPUT),
    )


def show_jobs(args: argparse.Namespace) -> None:
    """Print the jobs of a run in one of Airflow's formats; JSON and YAML have all that is known of them."""
    from airflow.utils.session import create_session

    from airflow_hybrid.cli.printing import FOR_PEOPLE, print_rows
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.overviews.steps import check_wanted, is_below
    from airflow_hybrid.runs.jobs import find_run, jobs_of_run
    from airflow_hybrid.runs.outline import outline_of_run

    try:
        with create_session() as session:
            run = find_run(session, args.run_id, args.dag_id)
            found = jobs_of_run(session, run)
            steps = {record.step for record in _records(found)}
            steps.update(batch.step for task in found.tasks for batch in task.report.batches)
            if args.step is not None and not any(is_below(step, args.step) for step in steps):
                check_wanted(args.step, outline_of_run(session, run))
    except HybridError as error:
        raise SystemExit(str(error)) from None
    for task, problem in found.unread:
        sys.stderr.write(f"the jobs of task {task} are not shown: {problem}\n")
    records = [record for record in _records(found) if _is_wanted(record, args)]
    batches = [batch for task in found.tasks for batch in task.report.batches if is_below(batch.step, args.step)]
    if args.output in FOR_PEOPLE:
        now = time.time()
        for batch in batches:
            sys.stdout.write(f"{progress_line(batch, now)}\n")
    print_rows([complete(record) for record in records], args.output, [row(record) for record in records])
    if args.output == "table":
        sys.stdout.write(f"{summary(records)}\n")


def _records(found: RunJobs) -> Iterator[JobRecord]:
    from airflow_hybrid.overviews.tasks import in_order

    for task in in_order(found.tasks):
        yield from task.report.records


def _is_wanted(record: JobRecord, args: argparse.Namespace) -> bool:
    from airflow_hybrid.overviews.steps import is_below

    if args.failed and record.state.value == "COMPLETED":
        return False
    return is_below(record.step, args.step)


def row(record: JobRecord) -> dict[str, str]:
    """A job as a row for people."""
    from airflow_hybrid.printable import printable

    place = f"{record.deployment}/{record.service}" if record.service else record.deployment
    state = "reused" if record.reused else record.state.value
    is_plain = record.exit_code is None or (record.exit_code == 0 and record.state.value == "COMPLETED")
    return {
        "step": printable(record.step),
        "job": printable(record.index),
        "place": printable(place),
        "node": printable(record.node),
        "id": printable(record.scheduler_id),
        "state": state if is_plain else f"{state} ({record.exit_code})",
        "try": record.attempt_name,
        "waited": duration(record.waited_s),
        "ran": duration(record.seconds),
        "cpu": duration(record.cpu_s),
        "memory": "" if record.memory_used_mib is None else f"{record.memory_used_mib} MiB",
        "in": size(record.bytes_in),
        "out": size(record.bytes_out),
    }


def complete(record: JobRecord) -> dict[str, Any]:
    """All that is known of a job, as plain values; times in seconds since the epoch."""
    import dataclasses

    return {"name": record.name, **dataclasses.asdict(record), "state": record.state.value, "ended": record.ended}


def progress_line(batch: BatchProgress, now: float) -> str:
    """``/align at cluster: 5 of 12 jobs ended, 1 failed, 4 running, 3 pending (Priority), for 12 min 4 s``."""
    from airflow_hybrid.printable import printable

    parts = [f"{batch.ended:,} of {counted(batch.total, 'job')} ended"]
    counts = ((batch.failed, "failed"), (batch.running, "running"), (batch.pending, "pending"))
    parts += [f"{count} {word}" for count, word in counts if count]
    if batch.reasons:
        parts[-1] += f" ({'; '.join(batch.reasons)})"
    if batch.unknown:
        parts.append(f"the state of the others is unknown: {batch.unknown}")
    parts.append(f"for {duration(max(0.0, now - batch.since))}")
    return printable(f"{batch.step} at {batch.place}: {', '.join(parts)}")


def summary(records: list[JobRecord]) -> str:
    """``12 jobs ended: 11 succeeded (2 of them reused), 1 failed``; of a job that ran again, its last try counts."""
    last: dict[tuple[str, str], JobRecord] = {}
    for record in sorted(records, key=lambda record: record.order):
        last[record.step, record.index] = record
    good = [record for record in last.values() if record.state.value == "COMPLETED"]
    reused = sum(record.reused for record in good)
    text = f"{counted(len(last), 'job')} ended: {len(good)} succeeded"
    if reused:
        text += f" ({reused} of them reused)"
    return f"{text}, {len(last) - len(good)} failed"
