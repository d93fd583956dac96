# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid run``: the runner as a command of an installed Airflow, with its Connections."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg

from airflow_hybrid.installation.conf import as_variables
from airflow_hybrid.interpreter import module_command, module_environment
from airflow_hybrid.runner.arguments import DESCRIPTION, EPILOG, OPTIONS, PROGRAM_VARIABLE

_Arg: Any = Arg  # it has no type hints
_ARGS = (
    *(_Arg((flag,), **keywords) for flag, keywords in OPTIONS.items()),
    _Arg(("document",), nargs="?", help="CWL document, or the zip file of a recorded run"),
    _Arg(("inputs",), nargs=argparse.REMAINDER, help="inputs: a YAML or JSON file, or flags (--name value)"),
)
_NOT_INHERITED = (
    "AIRFLOW_HOME",
    "AIRFLOW_CONFIG",
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
)
"""settings of an Airflow's database and secrets: the runner has its own"""
PROGRAM = "airflow hybrid run"


def run_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="run",
        help="Run a CWL document to its end, as cwl-runner does",
        description=f"{DESCRIPTION} {EPILOG}",
        func=run,
        args=_ARGS,
    )


def run(args: argparse.Namespace) -> None:
    """Run the document in this process if its Airflow can be made that of the run, else in one that replaces it."""
    from airflow_hybrid.runner.same_process import RenewedHome, reads_again

    argv = sys.argv[sys.argv.index("run", sys.argv.index("hybrid") + 1) + 1 :]
    environment = {**os.environ, **as_variables(), **connections(hybrid_file_of(args))}
    is_here = reads_again()
    for name in _NOT_INHERITED:
        environment.pop(name, None)
    environment[PROGRAM_VARIABLE] = PROGRAM
    environment = module_environment(environment)
    if not is_here:
        sys.stdout.flush()
        command = [*module_command("airflow_hybrid.runner"), *argv]
        os.execve(command[0], command, environment)
    os.environ.update(environment)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    from airflow_hybrid.runner.__main__ import script

    script(argv, RenewedHome)


def hybrid_file_of(args: argparse.Namespace) -> str | None:
    """The hybrid file that is named anywhere on the command line: options may also come after the document."""
    named: str | None = getattr(args, "hybrid_file", None)
    if named is None:
        behind = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        behind.add_argument("--hybrid-file")
        named = behind.parse_known_args(args.inputs)[0].hybrid_file
    return named


def connections(hybrid_file: str | None) -> dict[str, str]:
    """The Connections that a hybrid file's deployments name, as environment variables; where each user has one, that of
    whoever runs this. Unknown ones are left out: where one is needed, an error says so.
    """
    if hybrid_file is None:
        return {}
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.utils.platform import getuser

    from airflow_hybrid.config import load_hybrid_file
    from airflow_hybrid.config.users import TriggeredBy, connection_ids, deployments_of_user
    from airflow_hybrid.errors import HybridError

    try:
        hybrid = load_hybrid_file(hybrid_file)
    except HybridError as error:
        raise SystemExit(f"{PROGRAM}: {error}") from None
    variables: dict[str, str] = {}
    deployments = deployments_of_user(hybrid.deployments, TriggeredBy(getuser()))
    for name in sorted({name for d in deployments.values() for name in connection_ids(d.config)}):
        try:
            variables[f"AIRFLOW_CONN_{name.upper()}"] = Connection.get_connection_from_secrets(name).as_json()
        except AirflowNotFoundException:
            continue
    return variables
