# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid plan FILE|DAG``: where steps would run, what they ask for, and what would move."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg

from airflow_hybrid.amounts import core_hours, core_hours_in_words, counted, duration, size
from airflow_hybrid.cli.preview.graph import ARG_NAME

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from airflow_hybrid.cli.preview.planning import Move, PlannedStep

_Arg: Any = Arg  # it has no type hints
ARG_CONF = _Arg(("--conf",), help="inputs of the run as JSON, as for `airflow dags trigger`; else the inputs file's")


def plan_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="plan",
        help="Show where steps would run, what they ask for, and what would move",
        description="Show for each step of a workflow where its jobs would run, how many there are as far as the inputs"
        " tell, which cores, memory and core-hours they ask for, and what would be moved by which route. No site is"
        " asked, and nothing is changed.",
        func=show_plan,
        args=(ARG_NAME, ARG_CONF, ARG_OUTPUT),
    )


def show_plan(args: argparse.Namespace) -> None:
    """Print the plan of each workflow."""
    import os

    from airflow_hybrid.cli.preview.planning import planned
    from airflow_hybrid.cli.preview.workflows import shown_workflows
    from airflow_hybrid.cli.printing import print_rows
    from airflow_hybrid.cwl.given.settings import resolve_paths
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.printable import printable

    rows: list[Mapping[str, Any]] = []
    shown: list[Mapping[str, str]] = []
    steps: list[PlannedStep] = []
    conf = resolve_paths(_conf(args.conf), os.getcwd())
    try:
        for workflow in shown_workflows(args.name):
            found = planned(workflow, {**workflow.inputs, **conf})
            rows += [{"workflow": workflow.name, **step.to_json()} for step in found]
            shown += [{"workflow": printable(workflow.name), **row(step)} for step in found]
            steps += found
    except HybridError as error:
        raise SystemExit(str(error)) from None
    print_rows(rows, args.output, shown)
    if args.output == "table":
        sys.stdout.write(f"{summary(steps)}\n")


def _conf(text: str | None) -> dict[str, Any]:
    import json

    try:
        conf = json.loads(text or "{}")
    except ValueError as error:
        raise SystemExit(f"--conf: not JSON: {error}") from None
    if not isinstance(conf, dict):
        raise SystemExit("--conf: not an object of inputs")
    return conf


def row(step: PlannedStep) -> dict[str, str]:
    """A step as a row for people."""
    from airflow_hybrid.printable import printable

    jobs = "?" if step.jobs is None else str(step.jobs)
    return {
        "step": printable(step.step),
        "where": printable(" or ".join(step.places)),
        "jobs": f"up to {jobs}" if step.may_be_skipped and step.jobs else jobs,
        "cores": "" if step.cores is None else f"{step.cores:g}",
        "memory": "" if step.memory_mib is None else f"{step.memory_mib:g} MiB",
        "limit": duration(step.time_limit_s),
        "core-hours": "" if step.core_hours is None else core_hours(step.core_hours),
        "moves": printable("; ".join(move_text(move) for move in step.moves)),
    }


def move_text(move: Move) -> str:
    """``reads from local (relay, 1.2 GB)``."""
    amount = "size unknown" if move.bytes is None else size(move.bytes)
    return f"{move.what} from {move.source} ({move.route}, {amount})"


def summary(steps: Sequence[PlannedStep]) -> str:
    """``12 jobs, and those of 2 steps that nobody knows yet; at most 3.5 core-hours asked for; 1.2 GB to move``."""
    known = sum(step.jobs or 0 for step in steps)
    unknown = sum(step.jobs is None for step in steps)
    parts = [counted(known, "job")]
    if unknown:
        parts[0] += f", and those of {counted(unknown, 'step')} that the inputs do not tell"
    hours = [step.core_hours for step in steps if step.core_hours is not None]
    without = sum(step.core_hours is None and step.kind == "tool" for step in steps)
    if hours:
        rest = f" ({without} without a time limit)" if without else ""
        parts.append(f"at most {core_hours_in_words(sum(hours))} asked for{rest}")
    else:
        parts.append("no step has a time limit, so the core-hours are unknown")
    moves = dict.fromkeys(move for step in steps for move in step.moves)
    sizes = [move.bytes for move in moves if move.bytes is not None]
    parts.append(f"{size(sum(sizes))} to move of what is known" if sizes or not moves else "how much moves is unknown")
    return "; ".join(parts)
