# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether the person who triggered a run has a Connection for each deployment that the DAG's steps are bound to."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from airflow_hybrid.config import Deployment
from airflow_hybrid.config.users import TriggeredBy, connection_ids, deployments_of_user, has_users
from airflow_hybrid.config.values import HELM_TYPES
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.operators.context.run import triggered_by
from airflow_hybrid.operators.provenance import Ground

if TYPE_CHECKING:
    from airflow.sdk import Context

_TYPES_OF_SSH = ("ssh", "hybrid-ssh", "hybrid_ssh", "sftp")
_TYPES_OF_KUBERNETES = ("kubernetes", *HELM_TYPES)
_SSH_OPTIONS = "--conn-type ssh --conn-host HOST --conn-login ACCOUNT ..."
_KUBERNETES_OPTIONS = '--conn-type kubernetes --conn-extra \'{"kube_config_path": ..., "namespace": ...}\''


def check_accounts(ground: Ground, context: Context) -> None:
    """Check it before anything runs.

    :raises ConfigError: all that is missing, in one message.
    """
    bound = {name: d for name, d in _bound(ground).items() if has_users(d)}
    if not bound:
        return
    by = triggered_by(context)
    problems = [problem for d in deployments_of_user(bound, by).values() for problem in _problems(d, bound, by)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = [line for problem in problems for line in str(problem).splitlines()]
        raise ConfigError("\n".join([f"{len(problems)} problems with the deployments of this DAG", *lines]))


def _bound(ground: Ground) -> Mapping[str, Deployment]:
    """The deployments that steps are bound to, and those that they wrap, by name."""
    bound: dict[str, Deployment] = {}
    names = [target.deployment for binding in ground.bindings for target in binding.targets]
    while names:
        name = names.pop()
        if name in ground.deployments and name not in bound:
            bound[name] = ground.deployments[name]
            names.append(bound[name].wraps or "")
    return dict(sorted(bound.items()))


def _problems(deployment: Deployment, written: Mapping[str, Deployment], by: TriggeredBy) -> Iterator[ConfigError]:
    """:param written: the deployments as they are in the hybrid file."""
    if deployment.refusal:
        yield ConfigError(deployment.refusal, hint=deployment.refusal_hint)
        return
    as_written = set(connection_ids(written[deployment.name].config))
    for conn_id in dict.fromkeys(connection_ids(deployment.config)):
        problem = None if conn_id in as_written else _problem(conn_id, deployment.type)
        if problem is None:
            continue
        person = f"{by.name!r} has" if by.name is not None else "runs that nobody triggered have"
        yield ConfigError(
            f"{person} no Connection for deployment {deployment.name!r}: {conn_id!r} {problem}",
            hint=f"airflow connections add {shlex.quote(conn_id)} {_options(deployment.type)}, or name another one in"
            " `users` of the deployment in the hybrid file",
        )


def _problem(conn_id: str, kind: str) -> str | None:
    """What is wrong with a Connection; None: nothing."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return "does not exist"
    if kind == "ssh" and connection.conn_type not in _TYPES_OF_SSH:
        return f"is of type {connection.conn_type!r}, not `ssh`"
    if kind in _TYPES_OF_KUBERNETES and connection.conn_type != "kubernetes":
        return f"is of type {connection.conn_type!r}, not `kubernetes`"
    return None


def _options(kind: str) -> str:
    """Options of ``airflow connections add`` for a Connection of a deployment."""
    if kind in _TYPES_OF_KUBERNETES:
        return _KUBERNETES_OPTIONS
    return _SSH_OPTIONS if kind == "ssh" else f"--conn-type {kind} ..."
