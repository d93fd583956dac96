# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid plugins``: connectors, schedulers and policies, of this package and of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.metadata import EntryPoint

_OURS = "airflow-hybrid"


def plugins_command() -> ActionCommand:
    """The command, for Airflow's parser."""
    return ActionCommand(
        name="plugins",
        help="List connectors, schedulers and policies, of this package and of others",
        description="List the types of deployments and schedulers and the placement policies that a hybrid file can"
        " name: those of this package, and those that other packages add by entry points, each loaded to see whether"
        " it can be used. Exit code 1 if one cannot.",
        func=show_plugins,
        args=(ARG_OUTPUT,),
    )


def show_plugins(args: argparse.Namespace) -> None:
    """Print the plugins in one of Airflow's formats."""
    from airflow.cli.simple_table import AirflowConsole

    rows = list(plugins())
    AirflowConsole().print_as(rows, args.output)
    if any(row["problem"] for row in rows):
        raise SystemExit(1)


def plugins() -> Iterator[dict[str, str]]:
    """A row for each plugin: kind, name, package with its version, the class, and why it cannot be used."""
    from importlib.metadata import entry_points

    from airflow_hybrid import placement
    from airflow_hybrid.engine.placing.policies import POLICY_GROUP
    from airflow_hybrid.schedulers.base import Scheduler
    from airflow_hybrid.sites.connectors.base import Connector
    from airflow_hybrid.sites.connectors.clusters import SCHEDULER_GROUP, SCHEDULERS
    from airflow_hybrid.sites.connectors.registry import BUILT_IN, ENTRY_POINT_GROUP

    policies = {name: f"{kind.__module__}:{kind.__qualname__}" for name, kind in placement.POLICIES.items()}
    yield from _ours("connector", {name: f"airflow_hybrid.sites.connectors.{at}" for name, at in BUILT_IN.items()})
    yield from _others("connector", entry_points(group=ENTRY_POINT_GROUP), Connector)
    yield from _ours("scheduler", {name: f"airflow_hybrid.schedulers.{at}" for name, at in SCHEDULERS.items()})
    yield from _others("scheduler", entry_points(group=SCHEDULER_GROUP), Scheduler)
    yield from _ours("policy", policies)
    yield from _others("policy", entry_points(group=POLICY_GROUP), placement.Policy)


def _ours(kind: str, classes: Mapping[str, str]) -> Iterator[dict[str, str]]:
    from airflow_hybrid.version import __version__

    for name, where in sorted(classes.items()):
        yield _row(kind, name, f"{_OURS} {__version__}", where)


def _others(kind: str, points: Iterable[EntryPoint], base: type) -> Iterator[dict[str, str]]:
    for point in sorted(points, key=lambda point: point.name):
        package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
        yield _row(kind, point.name, package, point.value, _problem(point, base))


def _problem(point: EntryPoint, base: type) -> str:
    """Why an entry point cannot be used; empty: it can. Other people's code may raise anything."""
    try:
        loaded: Any = point.load()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(loaded, type) and issubclass(loaded, base):
        return ""
    return f"it is no subclass of {base.__module__}.{base.__qualname__}"


def _row(kind: str, name: str, package: str, where: str, problem: str = "") -> dict[str, str]:
    from airflow_hybrid.printable import printable

    return {
        "kind": kind,
        "name": printable(name),
        "package": printable(package),
        "class": printable(where),
        "problem": printable(problem),
    }
