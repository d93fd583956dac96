# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid tune DAG``: what the jobs of each step should ask for, by what those of the last runs used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg

from airflow_hybrid.amounts import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_hybrid.model.outline import DagOutline
    from airflow_hybrid.overviews.sizing import Proposal

_Arg: Any = Arg  # it has no type hints
ARG_DAG = _Arg(("dag_id",), help="id of the DAG")
ARG_LAST = _Arg(("--last",), type=int, default=5, help="how many of its latest runs are looked at (5)")
ARG_MARGIN = _Arg(("--margin",), type=float, default=20.0, help="percent that are added to what was used (20)")
ARG_FILE = _Arg(("--hybrid-file",), help="the hybrid file that the patch is for; default: the DAG's own")
ARG_PATCH = _Arg(("--patch",), action="store_true", help="print only the patch, for the command `patch FILE`")
_MOST_RUNS = 1000


def tune_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="tune",
        help="Propose what the jobs of each step should ask for, by what they used",
        description="Look at what the jobs of a DAG's latest runs used, and propose cores, memory and time limits for"
        " each step, as a patch of the hybrid file. No proposal is below what a job that succeeded used.",
        func=tune,
        args=(ARG_DAG, ARG_LAST, ARG_MARGIN, ARG_FILE, ARG_PATCH, ARG_OUTPUT),
    )


def tune(args: argparse.Namespace) -> None:
    """Print proposals as a table with a patch, or in another of Airflow's formats."""
    import dataclasses

    from airflow.utils.session import create_session

    from airflow_hybrid.cli.printing import console
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.overviews.sizing import Rule, proposals
    from airflow_hybrid.printable import printable
    from airflow_hybrid.runs.jobs import latest_runs
    from airflow_hybrid.runs.outline import outline_of_dag
    from airflow_hybrid.runs.sizing import past_runs

    if not 1 <= args.last <= _MOST_RUNS:
        raise SystemExit(f"--last {args.last}: give a number from 1 to {_MOST_RUNS}")
    if not 0 <= args.margin <= 1000:
        raise SystemExit(f"--margin {args.margin:g}: give a percentage from 0 to 1000")
    try:
        with create_session() as session:
            outline = outline_of_dag(session, args.dag_id)
            runs = past_runs(session, latest_runs(session, args.dag_id, args.last))
            proposed = proposals(outline, runs, Rule(margin=args.margin / 100))
        patch = patch_of(outline, proposed, args.dag_id, args.hybrid_file)
    except HybridError as error:
        raise SystemExit(str(error)) from None
    for problem in [problem for run in runs for problem in run.unread]:
        sys.stderr.write(f"{printable(problem)}\n")
    if args.patch:
        sys.stdout.write(patch)
        return
    if args.output in ("json", "yaml"):
        console().print_as([dataclasses.asdict(proposal) for proposal in proposed], args.output)
        return
    console().print_as([row(proposal) for proposal in proposed], args.output)
    if args.output == "table":
        sys.stdout.write(closing(proposed, patch, len(runs)))


def row(proposal: Proposal) -> dict[str, str]:
    """A proposal as a row for people."""
    from airflow_hybrid.printable import printable

    return {
        "step": printable(proposal.step),
        "jobs": f"{proposal.jobs} of {counted(proposal.runs, 'run')}",
        "cores": _change(proposal.cores_asked, proposal.cores, ""),
        "memory": _change(proposal.ram_asked_mib, proposal.ram_mib, " MiB"),
        "time": "" if proposal.walltime_s is None else f"{proposal.walltime_s} s",
        "notes": "; ".join(proposal.notes),
    }


def _change(asked: float | None, proposed: float | None, unit: str) -> str:
    """``4 -> 2``; what is asked for alone, if it is to stay."""
    before = "none" if asked is None else f"{asked:g}{unit}"
    return before if proposed is None else f"{before} -> {proposed:g}{unit}"


def closing(proposed: Sequence[Proposal], patch: str, runs: int) -> str:
    """What follows the table: the patch, or why there is none."""
    if not runs:
        return "the DAG has had no run\n"
    if not proposed:
        return "no job of these runs is known\n"
    if not any(proposal.resources for proposal in proposed):
        return "nothing is to be changed\n"
    return f"\n{patch}"


def patch_of(outline: DagOutline, proposed: Sequence[Proposal], dag_id: str, file: str | None) -> str:
    """The change of the hybrid file as a unified diff; of a DAG without one, the bindings to be added as YAML.

    :raises HybridError: the hybrid file cannot be read, or has no workflow with this DAG id.
    """
    from airflow_hybrid.config.reading.patching import bindings_as_yaml, patched

    resources = {proposal.step: proposal.resources for proposal in proposed if proposal.resources}
    path = file or outline.hybrid_file
    if not resources:
        return ""
    if not path.endswith((".yml", ".yaml")):
        return bindings_as_yaml(resources)
    return patched(path, dag_id, resources)
