# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid ...``: print the hybrid file's schema, compile a file, check its sites, and clean up.

Airflow imports this module for every ``airflow`` command, so it imports other modules only when a command runs.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand

from airflow_hybrid.amounts import counted
from airflow_hybrid.cli.data import data_command
from airflow_hybrid.cli.jobs import jobs_command
from airflow_hybrid.cli.logs import logs_command
from airflow_hybrid.cli.preview.graph import graph_command
from airflow_hybrid.cli.preview.plan import plan_command
from airflow_hybrid.cli.preview.plugins import plugins_command
from airflow_hybrid.cli.printing import guarded
from airflow_hybrid.cli.prov import prov_command
from airflow_hybrid.cli.report import report_command
from airflow_hybrid.cli.tune import tune_command
from airflow_hybrid.cli.why import why_command
from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.runner.command import run_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_hybrid.config import HybridFile
    from airflow_hybrid.model import Binding, WorkflowGraph
    from airflow_hybrid.sites.check import Finding

use_airflow_conf()

_HYBRID_SUFFIXES = (".yml", ".yaml")

_Arg: Any = Arg  # it has no type hints
ARG_OUTPUT = _Arg(("--output",), help="write to this file, not to stdout")
ARG_FILE = _Arg(("file",), help="a hybrid file (.yml, .yaml), or a CWL document; `main.cwl#tool` picks a process")
ARG_HYBRID_FILE = _Arg(("file",), help="a hybrid file (.yml, .yaml)")
ARG_DEPLOYMENT = _Arg(("-d", "--deployment"), action="append", help="only this deployment; may be repeated")
ARG_TIMEOUT = _Arg(("--timeout",), type=float, default=60.0, help="seconds for each command there (60)")
ARG_FINDINGS = _Arg(("--json",), action="store_true", help="print the findings as JSON")
ARG_JSON = _Arg(("--json",), action="store_true", help="print the compiled graph as JSON")
ARG_ANY_FILE = _Arg(("file",), nargs="?", help="a hybrid file; default: all hybrid DAGs in the DAGs folder")
ARG_USER = _Arg(("--user",), help="log in as this user of Airflow does, where each user has a Connection (`users`)")
ARG_USERS = _Arg(
    ("--user",), action="append", default=[], help="only with the logins of this user of Airflow; may be repeated"
)
ARG_SITE = _Arg(("site",), nargs="?", help="a deployment of type ssh, or one that wraps it")
ARG_HYBRID_FILES = _Arg(
    ("--hybrid-file", "--hybrid"), action="append", default=[], metavar="FILE",
    help="the hybrid file that has the deployment; may be repeated; default: all hybrid DAGs in the DAGs folder",
)  # fmt: skip
ARG_LIST = _Arg(("--list",), action="store_true", help="show who is logged in on this machine, and end")
ARG_END = _Arg(("--end",), action="store_true", help="end the kept logins of the deployment")
ARG_DRY_RUN = _Arg(("--dry-run",), action="store_true", help="only list what would be removed")
ARG_OLDER_THAN = _Arg(
    ("--older-than",),
    metavar="AGE",
    help="also remove folders of runs, with their files, in which nothing has changed for this long: 12h, 7d",
)


def get_hybrid_cli_commands() -> list[CLICommand]:
    """Return the commands of this provider, for Airflow's parser."""
    return [
        GroupCommand(
            name="hybrid",
            help="CWL workflows on hybrid environments",
            subcommands=list(map(guarded, _commands())),
        )
    ]


def _commands() -> list[ActionCommand]:
    return [
        run_command(),
        ActionCommand(
            name="schema",
            help="Print the JSON schema of the hybrid file",
            description="Print the JSON schema (draft 2020-12) of the hybrid file, for editors and validators.",
            func=schema,
            args=(ARG_OUTPUT,),
        ),
        ActionCommand(
            name="compile",
            help="Check a hybrid file or a CWL document and show the compiled workflow",
            description="Check a hybrid file or a CWL document: steps, their inputs, and where each would run.",
            func=compile_file,
            args=(ARG_FILE, ARG_JSON),
        ),
        ActionCommand(
            name="check",
            help="Try the deployments and links of a hybrid file",
            description="Try every deployment of a hybrid file, all at once: connection, host key, login, "
            "programs, work directory, scheduler; and every link, by sending some bytes there and back. "
            "Exit code: 0 when steps can run everywhere, else 1.",
            func=check_sites,
            args=(ARG_HYBRID_FILE, ARG_DEPLOYMENT, ARG_USER, ARG_TIMEOUT, ARG_FINDINGS),
        ),
        _login_command(),
        *_about_runs(),
        *_about_files(),
        ActionCommand(
            name="cleanup",
            help="List and remove what ended or unknown runs left at the sites",
            description="Cancel jobs of tasks that were stopped while their site was away. Remove deployments that were"
            " made for DAG runs which have ended or are no longer known"
            " (after Airflow was killed), checkpoints that have expired and, with --older-than, old runs' folders in"
            " work directories."
            " Queued and running runs, and those of another Airflow, are not touched.",
            func=cleanup,
            args=(ARG_ANY_FILE, ARG_USERS, ARG_DRY_RUN, ARG_OLDER_THAN),
        ),
    ]


def _about_runs() -> list[ActionCommand]:
    """Commands that show a run, from Airflow's database."""
    return [
        jobs_command(),
        why_command(),
        prov_command(),
        logs_command(),
        data_command(),
        report_command(),
        tune_command(),
    ]


def _about_files() -> list[ActionCommand]:
    """Commands that show what would be, and what is installed."""
    return [plan_command(), graph_command(), plugins_command()]


def _login_command() -> ActionCommand:
    return ActionCommand(
        name="login",
        help="Log in to a site for Airflow, where a one-time password is needed",
        description="Log in to the hosts of a deployment, which may ask for one-time passwords, and keep"
        " the connections open for Airflow's processes on this machine. Runs that wait for it go on. Call"
        " it as the user of Airflow, on each machine with a triggerer or a worker.",
        func=login,
        args=(ARG_SITE, ARG_HYBRID_FILES, ARG_USER, ARG_LIST, ARG_END),
    )


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


def check_sites(args: argparse.Namespace) -> None:
    """Try deployments and links, print a table (or, with ``--json``, values), and exit with 1 if something fails."""
    import asyncio
    import json
    import os
    import time

    from airflow_hybrid.cli.accounts import deployments_for
    from airflow_hybrid.config import load_hybrid_file
    from airflow_hybrid.config.reading.messages import choices
    from airflow_hybrid.errors import HybridError
    from airflow_hybrid.sites import check

    # Connections are in Airflow's database, as for `airflow connections test`
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        hybrid = load_hybrid_file(args.file)
    except HybridError as e:
        raise SystemExit(str(e)) from None
    for name in args.deployment or ():
        if name not in hybrid.deployments:
            raise SystemExit(f"there is no deployment `{name}`\n  -> {choices(name, hybrid.deployments)}")
    deployments = deployments_for(hybrid.deployments, args.user)
    names = args.deployment or [name for name in hybrid.deployments if name in _used(hybrid)]

    async def run() -> list[check.Finding]:
        from airflow_hybrid.sites.closing import close_all

        try:
            return await check.check(deployments, hybrid.links, names=names, timeout_s=args.timeout)
        finally:
            await close_all()

    began = time.monotonic()
    findings = asyncio.run(run())
    failed = check.fails(findings)
    if args.json:
        shown: Any = {"file": hybrid.path, "ok": not failed, "seconds": round(time.monotonic() - began, 3)}
        json.dump({**shown, "findings": [f.to_json() for f in findings]}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n".join(table(findings)) + "\n")
    sys.stdout.flush()
    if failed:
        raise SystemExit(1)


def _used(hybrid: HybridFile) -> set[str]:
    """Deployments that the file declares or binds; this machine only if it is one of them."""
    bound = {t.deployment for w in hybrid.workflows.values() for b in w.bindings for t in b.targets}
    return {name for name in hybrid.deployments if name != "local"} | bound


def table(findings: list[Finding]) -> Iterator[str]:
    """Lines of text for people: one per finding, and what to do about problems."""
    rows = [("DEPLOYMENT", "LOCATION", "CHECK", "RESULT", "TIME", "")]
    for finding in findings:
        seconds = f"{finding.seconds:.2f} s" if finding.seconds else ""
        detail = " ".join(finding.detail.split())
        rows.append((finding.where, finding.location, finding.what, finding.result, seconds, detail))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row, about in zip(rows, [None, *findings], strict=True):
        cells = [
            cell.rjust(w) if i == 4 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=False))
        ]
        yield "  ".join([*cells, row[5]]).rstrip()
        if about is not None and about.hint and about.result != "ok":
            first, *more = about.hint.splitlines()
            yield f"{'':{widths[0]}}  -> {first}"
            yield from (f"{'':{widths[0]}}     {line}" for line in more)
    bad = sum(finding.result == "FAIL" for finding in findings)
    yield f"{counted(len(findings), 'check')}, {bad or 'none'} failed"


def cleanup(args: argparse.Namespace) -> None:
    """List and, without ``--dry-run``, remove what runs have left; exit code 1 if something could not be done."""
    import os

    from airflow_hybrid.cli.accounts import scopes_of_users
    from airflow_hybrid.cli.cleanup import Cleanup, scopes
    from airflow_hybrid.errors import HybridError

    # Connections are in Airflow's database, as for `airflow connections test`
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    age_s = _age_s(args.older_than) if args.older_than else None
    problems: list[str] = []

    def problem(text: str) -> None:
        problems.append(text)
        sys.stderr.write(f"{text}\n")

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")

    try:
        work = Cleanup(scopes_of_users(scopes(args.file), args.user, say), say, problem)
        leftovers = work.deployments() + work.checkpoints()
        if age_s is not None:
            leftovers += work.folders(age_s)
        unended = work.jobs(dry_run=args.dry_run)
    except HybridError as e:
        raise SystemExit(str(e)) from None
    if args.dry_run:
        for item in leftovers:
            say(f"would be removed: {item}")
    else:
        work.remove(leftovers)
    if not leftovers and not unended and not problems:
        say("nothing is left")
    if problems:
        raise SystemExit(1)


def login(args: argparse.Namespace) -> None:
    """Log in to a deployment's hosts and keep the connections; or list or end what is kept."""
    import os

    from airflow_hybrid.cli import logins
    from airflow_hybrid.errors import HybridError

    # Connections are in Airflow's database, as for `airflow connections test`
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    if args.list:
        sys.stdout.write("\n".join(logins.table()) + "\n")
        return
    if not args.site:
        raise SystemExit("which deployment? airflow hybrid login SITE, or --list")
    try:
        if args.end:
            logins.end(args.site)
        else:
            logins.log_in(args.site, args.hybrid_file, args.user)
    except HybridError as e:
        raise SystemExit(str(e)) from None


def _age_s(text: str) -> float:
    match = re.fullmatch(r"(\d+)([mhdw])", text)
    if match is None:
        raise SystemExit(f"--older-than {text}: this is not an age\n  -> give a number and a unit: 30m, 12h, 7d, 2w")
    if int(match[1]) == 0:
        raise SystemExit(
            f"--older-than {text}: an age of nothing would take the folders of runs that have just ended\n"
            "  -> give a greater number: 30m, 12h, 7d, 2w"
        )
    return int(match[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}[match[2]]


def _compile(file: str) -> Iterator[tuple[str, WorkflowGraph, tuple[Binding, ...]]]:
    if not file.endswith(_HYBRID_SUFFIXES):
        from airflow_hybrid.cwl.documents.graphs import load_graph

        graph = load_graph(file)
        yield graph.name, graph, ()
        return
    from airflow_hybrid.cli.judging import judge

    judged = judge(file)
    for notice in judged.notices:
        sys.stderr.write(f"{notice}\n")
    for name, graph in judged.graphs.items():
        yield name, graph, judged.hybrid.workflows[name].bindings


def summary(name: str, graph: WorkflowGraph, bindings: tuple[Binding, ...]) -> Iterator[str]:
    """Lines of text for people: inputs, steps with the targets that they are bound to, outputs."""
    from airflow_hybrid.config import Bindings, bind

    bindings = Bindings(bindings)
    counts = ((graph.inputs, "input"), (graph.walk(), "step"), (graph.outputs, "output"))
    yield f"{name}: {', '.join(counted(len(values), noun) for values, noun in counts)}"
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
