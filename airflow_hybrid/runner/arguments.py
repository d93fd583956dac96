# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The command line of a CWL runner: our options anywhere, then the document's inputs as a job file or as flags."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_hybrid.cwl.given.settings import load_inputs, parse_inputs, resolve_paths
from airflow_hybrid.errors import ConfigError, InputError
from airflow_hybrid.model import CwlObject, JsonValue, WorkflowGraph
from airflow_hybrid.model.locations import is_uri, local_path, path_or_uri
from airflow_hybrid.model.templates import holds_template

TOOL_KEY = "cwl:tool"
"""key of a job file that names the document it is for"""
TOOL_HELP = "--tool-help"
PROGRAM_VARIABLE = "_AIRFLOW_HYBRID_RUNNER_CALLED"
"""environment variable: the name by which a user called the runner"""
SUCCESS, FAILURE, WRONG_ARGUMENTS, DIFFERENT, UNSUPPORTED, INTERRUPTED, UNREAD = 0, 1, 2, 3, 33, 130, 141
EXIT_CODES = {
    SUCCESS: "success",
    FAILURE: "failure",
    WRONG_ARGUMENTS: "wrong arguments",
    DIFFERENT: "a recorded run that was run again has other outputs now",
    UNSUPPORTED: "the document needs an unsupported feature",
    INTERRUPTED: "interrupted (Ctrl-C, SIGTERM)",
    UNREAD: "nobody reads the output object",
}
"""what each exit code means; argparse has the one of wrong arguments"""
DESCRIPTION = f"""\
Runs a CWL document as an Airflow DAG to its end, in this process, and prints its output object (JSON). No Airflow has
to be running. Exit code: {", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())}."""
EPILOG = "Without JOB the inputs are flags: --name value. Options of a document and of this command may be mixed."


def parser(prog: str) -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    argument_parser.add_argument("--version", action="store_true", help="print the version and exit")
    argument_parser.add_argument(
        "document",
        nargs="?",
        metavar="DOCUMENT",
        help="CWL document; `main.cwl#tool` picks a process; or the zip file of a recorded run, to run it again",
    )
    argument_parser.add_argument(
        "inputs", nargs=argparse.REMAINDER, metavar="JOB", help="inputs: a YAML or JSON file, or flags"
    )
    add_options(argument_parser)
    return argument_parser


OPTIONS: dict[str, dict[str, Any]] = {
    "--outdir": {"metavar": "DIR", "help": "where the outputs go (default: the current folder)"},
    "--existing": {
        "metavar": "WHAT",
        "choices": ["replace", "rename", "fail"],
        "help": "what to do with an output if its name is taken: replace (default) replaces outputs of "
        "earlier runs that are unchanged since, and otherwise names it name_2; rename; fail",
    },
    "--basedir": {"metavar": "DIR", "help": "base of relative paths of inputs (default: the job file's folder)"},
    "--quiet": {"action": "store_true", "help": "log errors only"},
    "--verbose": {"action": "store_true", "help": "also log what Airflow does"},
    "--no-progress": {
        "action": "store_true",
        "help": "on a terminal, do not show what the steps do (--quiet does not, either)",
    },
    "--hybrid-file": {"metavar": "FILE", "help": "a streamflow.yml that says where steps run"},
    "--workflow": {"metavar": "NAME", "help": "workflow of the hybrid file (default: that of DOCUMENT)"},
    "--serial": {"action": "store_true", "help": "one step at a time on this machine"},
    "--tmpdir-prefix": {"metavar": "PREFIX", "help": "prefix of the path of the folder of this run's jobs"},
    "--leave-tmpdir": {"action": "store_true", "help": "keep the folder of this run's jobs"},
    "--validate": {"action": "store_true", "help": "only check the document and the given inputs"},
    "--prov": {"metavar": "FILE", "help": "write a record of the run to this zip file (a Workflow Run RO-Crate)"},
    "--with-outputs": {"action": "store_true", "help": "the record has copies of the output files"},
    "--with-inputs": {"action": "store_true", "help": "the record has copies of the input files"},
    "--report": {
        "metavar": "FILE",
        "action": "append",
        "help": "write a report about the run to this file, by its ending: .html (a page), .pdf (to print), .png or"
        " .svg (the timeline), .csv (the jobs), .json (all values); may be given several times",
    },
    TOOL_HELP: {"action": "store_true", "help": "show the document's inputs as flags"},
    # options that other runners need and that always hold here
    "--enable-dev": {"action": "store_true", "help": argparse.SUPPRESS},
    "--enable-ext": {"action": "store_true", "help": argparse.SUPPRESS},
}


def add_options(to: Any, taken: Sequence[str] = ()) -> None:
    """Our options, except those with the name of an input of the document.

    :param taken: names of inputs.
    """
    for flag, keywords in OPTIONS.items():
        if flag.lstrip("-") not in taken:
            # no defaults: options before the document stay as they are
            to.add_argument(flag, default=argparse.SUPPRESS, **keywords)


def try_folder(outdir: str) -> None:
    """Check that outputs can be written to a folder, which need not exist; it is left as it was.

    :raises ConfigError: they cannot.
    """
    path = os.path.abspath(outdir)
    new_folders = []
    try:
        while not os.path.lexists(path):
            new_folders.append(path)
            path = os.path.dirname(path)
        for folder in reversed(new_folders):
            os.mkdir(folder)
        with tempfile.TemporaryFile(dir=os.path.abspath(outdir), prefix=".airflow_hybrid-"):
            pass
    except OSError as error:
        raise ConfigError(
            f"the outputs cannot be written to {os.path.abspath(outdir)}: {error.strerror or error}",
            where="--outdir",
            hint="name a folder that is writable or can be created",
        ) from error
    finally:
        for folder in new_folders:
            with contextlib.suppress(OSError):  # it was not made, or somebody has put something into it
                os.rmdir(folder)


def job_document(path: str) -> tuple[str, str] | None:
    """The document that a job file names under ``cwl:tool``, and the job file itself."""
    base = path_or_uri(path.partition("#")[0])
    if is_uri(base) or not base.endswith((".json", ".yml", ".yaml")) or not os.path.isfile(base):
        return None
    try:
        named = parse_inputs(Path(base).read_bytes(), base).get(TOOL_KEY)
    except (InputError, OSError):
        return None  # not a job file: problems with it as a document are reported when it is compiled
    if not isinstance(named, str):
        return None
    return named if is_uri(named) else os.path.join(os.path.dirname(base), named), base


def read_inputs(graph: WorkflowGraph, args: argparse.Namespace, prog: str) -> CwlObject:
    """The inputs of the run, from the arguments after the document.

    :raises InputError: the job file cannot be read.
    :raises SystemExit: flags that the document does not have (2, as argparse does).
    """
    tool_arguments = list(args.inputs)
    if not tool_arguments and not args.tool_help:
        return {}
    is_job = tool_arguments == ["-"] or (len(tool_arguments) == 1 and not tool_arguments[0].startswith("-"))
    if not is_job or args.tool_help:
        return _flags(graph, tool_arguments, args, prog)
    job = _job(tool_arguments[0], args.basedir)
    for port in graph.inputs:
        _refuse_text(port.name, port.type, job.get(port.name))
    return job


def checked_inputs(
    graph: WorkflowGraph, inputs: CwlObject, settings: str | None, prog: str, *, quiet: bool = False
) -> CwlObject:
    """Check the inputs of the run before Airflow is started for it.

    :param inputs: from :func:`read_inputs`.
    :param settings: the hybrid file's inputs file, whose values are defaults. Its templates are checked by the run.
    :param quiet: do not warn about values that are not inputs.
    :returns: ``inputs``, without values that are not inputs.
    :raises InputError: everything that is missing, of the wrong type, or does not exist, in one message.
    """
    from airflow_hybrid.config.reading.messages import choices
    from airflow_hybrid.cwl.given import job_requirements
    from airflow_hybrid.cwl.given.run_inputs import validate_inputs

    names = [port.name for port in graph.inputs]
    ignored = [name for name in inputs if name not in names and name not in job_requirements.NO_INPUTS]
    for name in () if quiet else ignored:
        # an input object may have more values than the document asks for (CWL v1.2 section "Input object")
        print(f"{prog}: {name!r} is not an input of the document: ignored", file=sys.stderr)
        print(f"  -> {choices(name, names, what='the inputs are')}", file=sys.stderr)
    values = {**(load_inputs(settings) if settings else {}), **inputs}
    templates = {name for name in names if name not in inputs and holds_template(values.get(name))}
    judged = dataclasses.replace(graph, inputs=tuple(port for port in graph.inputs if port.name not in templates))
    plain = {port.name: values[port.name] for port in judged.inputs if port.name in values}
    validate_inputs(judged, plain, os.getcwd(), checksum=False)
    return {name: value for name, value in inputs.items() if name not in ignored}


def _refuse_text(name: str, kind: JsonValue, value: JsonValue) -> None:
    """Refuse a string in place of a File: only a trigger form and a run's conf take it as a path.

    :raises InputError: there is one.
    """
    kinds = kind if isinstance(kind, list) else [kind]
    if isinstance(value, list):
        for array in kinds:
            if isinstance(array, dict) and array.get("type") == "array":
                for item in value:
                    _refuse_text(name, array["items"], item)
        return
    wanted = [member for member in ("File", "Directory") if member in kinds]
    others = {"string", "Any"}.intersection(member for member in kinds if isinstance(member, str))
    enums = any(isinstance(member, dict) and member.get("type") == "enum" for member in kinds)
    if isinstance(value, str) and wanted and not others and not enums:
        raise InputError(
            f"input {name!r} must be {' or '.join(wanted)}, not {json.dumps(value, ensure_ascii=False)}",
            hint=f"in a job file write an object: {{class: {wanted[0]}, path: ...}}",
        )


def _job(path: str, basedir: str | None) -> CwlObject:
    if path == "-":
        value = parse_inputs(sys.stdin.buffer.read(), "stdin")
        inputs: CwlObject = resolve_paths(value, os.path.abspath(basedir or "."))
    else:
        path = local_path(path) or path
        inputs = load_inputs(path, base=os.path.abspath(basedir) if basedir else None)
    inputs.pop(TOOL_KEY, None)
    return inputs


def _flags(graph: WorkflowGraph, tool_arguments: Sequence[str], args: argparse.Namespace, prog: str) -> CwlObject:
    """Inputs as flags, by cwltool's own parser."""
    from cwltool.argparser import generate_parser

    from airflow_hybrid.cwl.given.checks import process_of

    process = process_of(graph)
    names: dict[str, str] = {}
    records: list[str] = []
    tool = argparse.ArgumentParser(prog=f"{prog} {args.document}", allow_abbrev=False)
    base = Path(args.basedir or ".").absolute().as_uri() + "/"
    generate_parser(tool, process, names, records, input_required=False, base_uri=base)
    add_options(tool, list(names.values()))
    if args.tool_help or (TOOL_HELP in tool_arguments and TOOL_HELP.lstrip("-") not in names.values()):
        tool.print_help(sys.stdout)
        raise SystemExit(0)
    values = vars(tool.parse_args(list(tool_arguments)))
    of_records = [key for key in values if any(key.startswith(f"{record}.") for record in records)]
    # the document's defaults are the run's business: the hybrid file's values take precedence over them
    tool.set_defaults(**dict.fromkeys([*names, *of_records]))
    given = vars(tool.parse_args(list(tool_arguments)))
    job: CwlObject = _job(given["job_order"], args.basedir) if given.get("job_order") else {}
    ours = {action for action in given if action not in names}
    for name in ours & vars(args).keys():
        value = given[name]
        if isinstance(value, list):  # an option that may be given several times, also before the document
            value = [*(getattr(args, name) or ()), *value]
        setattr(args, name, value)
    for record in records:
        fields = [key for key in of_records if key.startswith(f"{record}.")]
        if any(given[key] is not None for key in fields):
            job[record] = {key.removeprefix(f"{record}."): values[key] for key in fields}
    for key, name in names.items():
        if key != "job_order" and given.get(key) is not None:
            job[name] = given[key]
    return job
