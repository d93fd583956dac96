# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid plugins``: the connectors, schedulers and policies that are there, and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint


def plugins_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="plugins",
        help="List connectors, schedulers and policies",
        description="List the types of deployments (connectors and schedulers) and the policies that a hybrid file can"
        " name: those of this package, and those that other packages add, with versions. What cannot be loaded says"
        " why.",
        func=show_plugins,
        args=(ARG_OUTPUT,),
    )


def show_plugins(args: argparse.Namespace) -> None:
    """Print the table, and exit with 1 if something cannot be loaded."""
    from airflow_hybrid.cli.printing import print_rows
    from airflow_hybrid.printable import printable

    rows = list(plugins())
    print_rows(rows, args.output, [{key: printable(value) for key, value in row.items()} for row in rows])
    if any(row["problem"] for row in rows):
        raise SystemExit(1)


def plugins() -> Iterator[dict[str, str]]:
    """A row for each of them."""
    from importlib.metadata import entry_points

    from airflow_hybrid.config.reading.checks import CONNECTOR_GROUP, POLICY_GROUP, SCHEDULER_GROUP
    from airflow_hybrid.placement.policies import POLICIES, Policy
    from airflow_hybrid.schedulers.base import Scheduler
    from airflow_hybrid.sites.connectors.base import Connector
    from airflow_hybrid.sites.connectors.clusters import SCHEDULERS
    from airflow_hybrid.sites.connectors.registry import BUILT_IN
    from airflow_hybrid.version import __version__

    connectors = [name for name in BUILT_IN if name not in SCHEDULERS]
    built_in = {"connector": connectors, "scheduler": SCHEDULERS, "policy": POLICIES}
    groups = {"connector": CONNECTOR_GROUP, "scheduler": SCHEDULER_GROUP, "policy": POLICY_GROUP}
    kinds: dict[str, type] = {"connector": Connector, "scheduler": Scheduler, "policy": Policy}
    for kind, names in built_in.items():
        for name in names:
            row = {"kind": kind, "name": name, "package": "airflow_hybrid", "version": __version__}
            yield {**row, "entry_point": "", "problem": ""}
        for point in sorted(entry_points(group=groups[kind]), key=lambda point: point.name):
            yield _of_entry_point(kind, point, kinds[kind], name_is_taken=point.name in names)


def _of_entry_point(kind: str, point: EntryPoint, base: type, *, name_is_taken: bool) -> dict[str, str]:
    problem = "a built-in one has this name, and is used" if name_is_taken else ""
    try:
        loaded = point.load()
    except Exception as error:  # whatever a package raises when it is imported
        problem = f"{type(error).__name__}: {error}"
    else:
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            problem = f"it is not a {base.__name__}"
    package = point.dist.name if point.dist is not None else "?"
    version = point.dist.version if point.dist is not None else "?"
    row = {"kind": kind, "name": point.name, "package": package, "version": version}
    return {**row, "entry_point": point.value, "problem": problem}
