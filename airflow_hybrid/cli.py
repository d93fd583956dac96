# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid ...``: the JSON schema of the hybrid file, and what a document or a hybrid file compiles to.

Airflow imports this module for every ``airflow`` command, so it imports what it runs when it runs it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_hybrid.config import HybridFile
    from airflow_hybrid.model import Binding, WorkflowGraph

_HYBRID_SUFFIXES = (".yml", ".yaml")

_Arg: Any = Arg  # it has no type hints
ARG_OUTPUT = _Arg(("--output",), help="write to this file, not to stdout")
ARG_FILE = _Arg(("file",), help="a hybrid file (.yml, .yaml), or a CWL document; `main.cwl#tool` picks a process")
ARG_JSON = _Arg(("--json",), action="store_true", help="print the compiled graph as JSON")


def get_hybrid_cli_commands() -> list[CLICommand]:
    """Return the commands of this provider, for Airflow's parser."""
    return [
        GroupCommand(
            name="hybrid",
            help="CWL workflows on hybrid environments",
            subcommands=[
                ActionCommand(
                    name="schema",
                    help="Print the JSON schema of the hybrid file",
                    description="Print the JSON schema (draft 2020-12) of the hybrid file, for editors and validators.",
                    func=schema,
                    args=(ARG_OUTPUT,),
                ),
                ActionCommand(
                    name="compile",
                    help="Check a hybrid file or a CWL document and show what it becomes",
                    description="Check a hybrid file or a CWL document: steps, their inputs, and where each would run.",
                    func=compile_file,
                    args=(ARG_FILE, ARG_JSON),
                ),
            ],
        )
    ]


def schema(args: argparse.Namespace) -> None:
    """Print the JSON schema of the hybrid file, or write it to ``--output``."""
    import json

    from airflow_hybrid.config import json_schema

    text = json.dumps(json_schema(), indent=2) + "\n"
    if not args.output:
        sys.stdout.write(text)
        return
    try:
        with open(args.output, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as e:
        raise SystemExit(f"{args.output}: {e.strerror}") from None


def compile_file(args: argparse.Namespace) -> None:
    """Print a summary (or, with ``--json``, all) of what a hybrid file or CWL document compiles to."""
    import json

    from airflow_hybrid.errors import HybridError

    try:
        compiled = list(_compile(args.file))
    except HybridError as e:
        raise SystemExit(str(e)) from None
    if args.json:
        json.dump({name: graph.to_json() for name, graph, _ in compiled}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    for name, graph, bindings in compiled:
        sys.stdout.write("\n".join(summary(name, graph, bindings)) + "\n")


def _compile(file: str) -> Iterator[tuple[str, WorkflowGraph, tuple[Binding, ...]]]:
    from airflow_hybrid.config import check_bindings, load_hybrid_file
    from airflow_hybrid.cwl.cache import load_graph

    if not file.endswith(_HYBRID_SUFFIXES):
        graph = load_graph(file)
        yield graph.name, graph, ()
        return
    hybrid: HybridFile = load_hybrid_file(file)
    for notice in hybrid.notices:
        sys.stderr.write(f"{notice}\n")
    for name, workflow in hybrid.workflows.items():
        graph = load_graph(workflow.file)
        check_bindings(workflow.bindings, hybrid.deployments, [s.path for s in graph.walk()], where=hybrid.path)
        yield name, graph, workflow.bindings


def summary(name: str, graph: WorkflowGraph, bindings: tuple[Binding, ...]) -> Iterator[str]:
    """Lines of text for a person: inputs, steps with the place each is bound to, outputs."""
    from airflow_hybrid.config import bind

    yield f"{name}: {len(graph.inputs)} inputs, {len(graph.walk())} steps, {len(graph.outputs)} outputs"
    for port in graph.inputs:
        yield f"  input   {port.name}: {_type(port.type)}" + ("" if not port.has_default else f" = {port.default!r}")
    for step in graph.walk():
        places = [t.deployment + (f"/{t.service}" if t.service else "") for t in bind(bindings, step.path).targets]
        marks = [f"scatter {', '.join(step.scatter)}"] if step.scatter else []
        marks += [word for word in ("when", "loop") if getattr(step, word)]
        place = "" if step.workflow else f" -> {' or '.join(places)}"
        yield f"  step    {step.path} ({step.kind}{''.join('; ' + m for m in marks)}){place}"
    for output in graph.outputs:
        yield f"  output  {output.name}: {_type(output.type)}"


def _type(value: Any) -> str:
    """A CWL type in short: ``File[]?``."""
    if isinstance(value, str):
        return value.rsplit("#", 1)[-1]
    if isinstance(value, list):
        names = [_type(v) for v in value if v != "null"]
        return (names[0] if len(names) == 1 else f"({' | '.join(names)})") + ("?" if "null" in value else "")
    if isinstance(value, dict) and value.get("type") == "array":
        return f"{_type(value.get('items'))}[]"
    return str(value.get("type", "?")) if isinstance(value, dict) else "?"
