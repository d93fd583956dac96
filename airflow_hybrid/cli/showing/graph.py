# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid graph FILE``: a workflow's steps as a picture, in Mermaid's language or in DOT."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg

if TYPE_CHECKING:
    import argparse

_Arg: Any = Arg  # it has no type hints
ARG_FILE = _Arg(("file",), help="a hybrid file (.yml, .yaml), or a CWL document")
ARG_WORKFLOW = _Arg(("-w", "--workflow"), help="which workflow of the hybrid file, where it has several")
ARG_FORMAT = _Arg(("--format",), choices=("mermaid", "dot"), default="mermaid", help="mermaid (default) or dot")


def graph_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="graph",
        help="Draw a workflow's steps, coloured by where they run",
        description="Print a workflow as a graph, in the language of Mermaid or of Graphviz (DOT): its steps with the"
        " targets that they are bound to, sub-workflows as frames, and which step reads what another makes.",
        func=show_graph,
        args=(ARG_FILE, ARG_WORKFLOW, ARG_FORMAT),
    )


def show_graph(args: argparse.Namespace) -> None:
    """Print the graph."""
    from airflow_hybrid.cli.commands import compiled_workflows
    from airflow_hybrid.cli.showing.drawing import Drawing, dot, mermaid
    from airflow_hybrid.config.reading.messages import choices
    from airflow_hybrid.errors import HybridError

    try:
        workflows = {name: (graph, bindings) for name, graph, bindings in compiled_workflows(args.file)}
    except HybridError as error:
        raise SystemExit(str(error)) from None
    if args.workflow is None and len(workflows) > 1:
        names = " | ".join(workflows)
        raise SystemExit(f"{args.file} has {len(workflows)} workflows\n  -> choose one: --workflow {names}")
    name = args.workflow or next(iter(workflows))
    if name not in workflows:
        raise SystemExit(f"there is no workflow `{name}`\n  -> {choices(name, workflows)}")
    drawing = Drawing.of(*workflows[name])
    sys.stdout.write(mermaid(drawing) if args.format == "mermaid" else dot(drawing))
