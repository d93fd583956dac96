# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid graph FILE|DAG``: a workflow as text for Mermaid or Graphviz, its steps by where they run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg

if TYPE_CHECKING:
    import argparse

_Arg: Any = Arg  # it has no type hints
ARG_NAME = _Arg(("name",), help="a hybrid file (.yml, .yaml), a CWL document, or the id of a DAG")
ARG_FORMAT = _Arg(("--format",), choices=("mermaid", "dot"), default="mermaid", help="of the text (mermaid)")


def graph_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="graph",
        help="Print a workflow as a graph, with where its steps run",
        description="Print the steps of a workflow and what they hand to each other as text for Mermaid or Graphviz;"
        " colours and groups say where steps run.",
        func=print_graph,
        args=(ARG_NAME, ARG_FORMAT),
    )


def print_graph(args: argparse.Namespace) -> None:
    """Print the text; a hybrid file with several workflows gives several."""
    from airflow_hybrid.cli.preview.drawing import dot, mermaid
    from airflow_hybrid.cli.preview.workflows import shown_workflows
    from airflow_hybrid.errors import HybridError

    try:
        workflows = shown_workflows(args.name)
    except HybridError as error:
        raise SystemExit(str(error)) from None
    draw = dot if args.format == "dot" else mermaid
    sys.stdout.write("\n".join(draw(workflow) for workflow in workflows))
