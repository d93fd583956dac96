# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands at deployments where each user has a Connection: which one, and for cleaning up, all of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from airflow_hybrid.cli.cleanup import CleanupScope
from airflow_hybrid.config import Deployment
from airflow_hybrid.config.users import TriggeredBy, Users, connection_ids, deployments_of_user, has_users


def deployments_for(deployments: Mapping[str, Deployment], user: str | None) -> Mapping[str, Deployment]:
    """The deployments with the Connections of a user; None: with those of runs that nobody triggered, where there are.

    A deployment that needs a user says so when it is used.
    """
    resolved = deployments_of_user(deployments, TriggeredBy(user, unattended=True))
    if user is not None:
        return resolved
    return {name: _asks_for_user(d) if d.refusal else d for name, d in resolved.items()}


def _asks_for_user(deployment: Deployment) -> Deployment:
    message = f"deployment {deployment.name!r} is used with the Connection of a person"
    return dataclasses.replace(deployment, refusal=message, refusal_hint="say whose: --user NAME")


def users_of_runs(dag_ids: Iterable[str]) -> set[str]:
    """The names of all users who triggered runs of DAGs that Airflow knows."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(DagRun.triggering_user_name).where(DagRun.dag_id.in_(sorted(dag_ids))).distinct()
        return {name for name in session.scalars(query) if name}


def scopes_of_users(
    scopes: Sequence[CleanupScope], users: Sequence[str], say: Callable[[str], None]
) -> list[CleanupScope]:
    """Where to look, with the login of each user.

    :param users: names; empty: everybody whom the hybrid file or a run of the DAGs names.
    :param say: gets lines about Connections that do not exist.
    """
    result: list[CleanupScope] = []
    for scope in scopes:
        personal = _personal(scope.deployments)
        if not personal:
            result.append(scope)
            continue
        if not users:
            result.append(dataclasses.replace(scope, skipped=personal))
        result += _of_users(scope, personal, users, say)
    return result


def _personal(deployments: Mapping[str, Deployment]) -> frozenset[str]:
    """Deployments whose login depends on the user, and those that wrap one."""
    names = {name for name, deployment in deployments.items() if has_users(deployment)}
    before = -1
    while len(names) > before:
        before = len(names)
        names |= {name for name, deployment in deployments.items() if deployment.wraps in names}
    return frozenset(names)


def _of_users(
    scope: CleanupScope, personal: frozenset[str], users: Sequence[str], say: Callable[[str], None]
) -> list[CleanupScope]:
    """A scope for each login."""
    by_login: dict[str, CleanupScope] = {}
    missing: set[str] = set()
    for by in _everybody(scope, personal, users):
        resolved = dict(deployments_of_user(scope.deployments, by))
        unusable = {name for name in personal if resolved[name].refusal}
        for name in personal - unusable:
            for conn_id in connection_ids(resolved[name].config):
                if not _exists(conn_id):
                    unusable.add(name)
                    missing.add(f"kept: what the Connection {conn_id!r} of {name} leads to: it does not exist")
        own = {name: d for name, d in resolved.items() if name in personal and not {name, d.wraps} & unusable}
        if own:
            login = json.dumps([d.to_json() for _, d in sorted(own.items())], sort_keys=True, default=str)
            skipped = frozenset(resolved) - frozenset(own)
            by_login.setdefault(login, dataclasses.replace(scope, deployments=resolved, skipped=skipped))
    for line in sorted(missing):
        say(line)
    return list(by_login.values())


def _everybody(scope: CleanupScope, personal: frozenset[str], users: Sequence[str]) -> list[TriggeredBy]:
    """The users that were asked for, else all that are known, and nobody."""
    if users:
        return [TriggeredBy(user) for user in users]
    names = users_of_runs(scope.dag_ids)
    for name in personal:
        declared = Users.of(scope.deployments[name].config)
        names.update(declared.connections, declared.allowed or ())
    return [TriggeredBy(None, unattended=True), *(TriggeredBy(name) for name in sorted(names))]


def _exists(conn_id: str) -> bool:
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        Connection.get_connection_from_secrets(conn_id)
    except AirflowNotFoundException:
        return False
    return True
