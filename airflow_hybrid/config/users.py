# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whose Airflow Connection a deployment uses in a DAG run, if several people with accounts of their own share a DAG.

A user name comes from outside. It is never rendered: it selects nothing but the Connection that the hybrid file gives
to exactly this name, or the one whose id is the file's ``conn_id`` with the name in it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.config.values import Deployment
from airflow_hybrid.errors import ConfigError

PLACEHOLDER = "{{ triggering_user }}"
OF_USERS = "{{ users }}"
"""``conn_id`` of a deployment that has only a table of users and Connections"""
REFUSE = "refuse"
"""``users.unattended`` for deployments that are only for people; the default"""
_TEMPLATE = re.compile(r"([^{}]*)\{\{\s*triggering_user\s*\}\}([^{}]*)")
_NAME_IN_ID = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,99}")
"""No capitals: ``Anna`` and ``anna`` would share a Connection in environment variables, whose names have only capitals.
No ``/``: backends of secrets take it as part of a path."""


@dataclass(frozen=True)
class TriggeredBy:
    """Who started a DAG run.

    :ivar name: the triggering user, as Airflow names it; None: nobody, or it is not known who.
    :ivar unattended: nobody did: a schedule, an event of an asset, or a DAG that was itself started by one of these.
    """

    name: str | None
    unattended: bool = False


@dataclass(frozen=True)
class Users:
    """``users`` of a deployment.

    :ivar conn_id: the deployment's own ``conn_id``, in whose place the following are.
    :ivar connections: user name -> id of that person's Connection.
    :ivar allowed: who may use the deployment; None: everybody who has a Connection for it.
    :ivar unattended: id of the Connection for runs that nobody triggered; None: such runs are refused.
    """

    conn_id: str | None = None
    connections: Mapping[str, str] = field(default_factory=dict)
    allowed: tuple[str, ...] | None = None
    unattended: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Users:
        """From ``deployments.<name>.config`` of a hybrid file that was read."""
        users: Mapping[str, Any] = config.get("users") or {}
        allowed, unattended = users.get("allowed"), users.get("unattended", REFUSE)
        return cls(
            users.get("conn_id"),
            dict(users.get("connections") or {}),
            None if allowed is None else tuple(allowed),
            None if unattended == REFUSE else unattended,
        )

    def connection(self, conn_id: str, by: TriggeredBy, deployment: str) -> str:
        """The id of the Connection in the place of a ``conn_id``.

        :raises ConfigError: there is none for the run.
        """
        if by.name is None:
            return self._of_nobody(conn_id, deployment)
        if conn_id == self.conn_id and by.name in self.connections:
            return self.connections[by.name]
        if conn_id == OF_USERS:
            raise ConfigError(
                f"{by.name!r} has no Connection for deployment {deployment!r}", hint=_hint("connections", deployment)
            )
        if not is_template(conn_id):
            return conn_id
        return self._with_name(conn_id, by.name, deployment)

    def _of_nobody(self, conn_id: str, deployment: str) -> str:
        if conn_id == self.conn_id and self.unattended is not None:
            return self.unattended
        if is_template(conn_id):
            raise ConfigError(
                f"nobody triggered this run, and {conn_id!r} of deployment {deployment!r} is the Connection of whoever"
                " does",
                hint="trigger the DAG yourself: `users.unattended` takes the place of the deployment's own `conn_id`"
                " only, not of that of a node or a tunnel",
            )
        return conn_id

    def check_allowed(self, by: TriggeredBy, deployment: str) -> None:
        """:raises ConfigError: the person may not use the deployment, or nobody triggered the run."""
        if by.name is None:
            self._check_unattended(by, deployment)
        elif self.allowed is not None and by.name not in self.allowed:
            raise ConfigError(f"{by.name!r} may not use deployment {deployment!r}", hint=_hint("allowed", deployment))

    def _check_unattended(self, by: TriggeredBy, deployment: str) -> None:
        if not by.unattended:
            raise ConfigError(
                f"Airflow does not say who triggered this run, and deployment {deployment!r} is used with the"
                " Connection of that person",
                hint="trigger the DAG in the web UI, by the REST API or by `airflow dags trigger`",
            )
        if self.unattended is None:
            raise ConfigError(
                f"nobody triggered this run, and deployment {deployment!r} is used with the Connection of whoever does",
                hint="trigger the DAG yourself, or give runs by schedules and assets a Connection: `users.unattended`"
                f" of deployment {deployment!r} in the hybrid file",
            )

    def _with_name(self, template: str, name: str, deployment: str) -> str:
        match = _TEMPLATE.fullmatch(template)
        if match is None:
            raise ConfigError(
                f"`conn_id` of deployment {deployment!r} is {template!r}", hint=f"only {PLACEHOLDER} can be in it"
            )
        if not _NAME_IN_ID.fullmatch(name):
            raise ConfigError(
                f"{name!r} has no Connection for deployment {deployment!r}: only a name of lower-case letters, digits,"
                f" `.`, `_` and `-` can be a part of `conn_id`",
                hint=_hint("connections", deployment),
            )
        conn_id = f"{match[1]}{name}{match[2]}"
        owners = sorted(owner for owner, owned in self.connections.items() if owned == conn_id)
        if owners:
            raise ConfigError(
                f"{name!r} has no Connection for deployment {deployment!r}: {conn_id!r} is that of {owners[0]!r}",
                hint=_hint("connections", deployment),
            )
        return conn_id


def _hint(key: str, deployment: str) -> str:
    return f"add the name to `users.{key}` of deployment {deployment!r} in the hybrid file"


def is_template(conn_id: str) -> bool:
    """Whether the id of a Connection has a template in it, also one that is not allowed."""
    return "{{" in conn_id or "{%" in conn_id


def template_problem(conn_id: str) -> str | None:
    """What is wrong with the template in a ``conn_id``; None: nothing, or there is none."""
    if not is_template(conn_id) and "{#" not in conn_id:
        return None
    match = _TEMPLATE.fullmatch(conn_id)
    if match is None:
        return f"the only template in `conn_id` is `{PLACEHOLDER}`, once"
    if not (match[1] or match[2]):
        return f"`{PLACEHOLDER}` alone would let a user name select any Connection: put text before or after it"
    return None


def connection_ids(config: Any) -> Iterator[str]:
    """All values of ``conn_id`` in a deployment's options."""
    if isinstance(config, Mapping):
        if isinstance(config.get("conn_id"), str):
            yield config["conn_id"]
        config = [value for key, value in config.items() if key != "users"]
    if isinstance(config, list | tuple):
        for item in config:
            yield from connection_ids(item)


def has_users(deployment: Deployment) -> bool:
    """Whether the Connection of a deployment, or who may use it, depends on who triggered the run."""
    return "users" in deployment.config or any(is_template(conn_id) for conn_id in connection_ids(deployment.config))


def deployments_of_user(deployments: Mapping[str, Deployment], by: TriggeredBy) -> Mapping[str, Deployment]:
    """The deployments of a run, with the Connections of the person who triggered it.

    A deployment that the run may not use says so when it is used (``refusal``): the run may not need it.
    """
    return {name: _of_user(deployment, by) for name, deployment in deployments.items()}


def _of_user(deployment: Deployment, by: TriggeredBy) -> Deployment:
    if not has_users(deployment):
        return deployment
    users = Users.of(deployment.config)
    try:
        users.check_allowed(by, deployment.name)
        config = _with_connections(deployment.config, users, by, deployment.name)
    except ConfigError as error:
        return dataclasses.replace(deployment, refusal=error.message, refusal_hint=error.hint or "")
    personal = bool(users.connections) or any(is_template(conn_id) for conn_id in connection_ids(deployment.config))
    return dataclasses.replace(deployment, config=config, personal=personal)


def _with_connections(config: Any, users: Users, by: TriggeredBy, deployment: str) -> Any:
    if isinstance(config, Mapping):
        changed = {
            key: _with_connections(value, users, by, deployment) for key, value in config.items() if key != "users"
        }
        if isinstance(config.get("conn_id"), str):
            changed["conn_id"] = users.connection(config["conn_id"], by, deployment)
        return changed
    if isinstance(config, list | tuple):
        return [_with_connections(item, users, by, deployment) for item in config]
    return config


def check_usable(deployment: Deployment) -> None:
    """:raises ConfigError: the run may not use the deployment, or it is not known who triggered the run."""
    if deployment.refusal:
        raise ConfigError(deployment.refusal, hint=deployment.refusal_hint or None)
    if has_users(deployment):
        raise ConfigError(
            f"deployment {deployment.name!r} is used with the Connection of a person, and it is not said of whom"
        )


def is_of_a_person(deployments: Mapping[str, Deployment], conn_id: str) -> bool:
    """Whether a Connection may be that of a user, or that of unattended runs, for one of the deployments."""
    for deployment in deployments.values():
        users = Users.of(deployment.config)
        if conn_id in users.connections.values() or conn_id == users.unattended:
            return True
        for template in connection_ids(deployment.config):
            match = _TEMPLATE.fullmatch(template)
            if match and conn_id.startswith(match[1]) and conn_id.endswith(match[2]):
                return True
    return False
