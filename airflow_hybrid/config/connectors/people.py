# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whose Connection a run uses at a deployment of several people; see :mod:`airflow_hybrid.config.users`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from airflow_hybrid.config.base import ConnectionId, Model, NonEmpty
from airflow_hybrid.config.users import REFUSE, is_template, template_problem


def _check_template(conn_id: str) -> str:
    problem = template_problem(conn_id)
    if problem is not None:
        raise ValueError(problem)
    return conn_id


PersonalConnectionId = Annotated[NonEmpty, AfterValidator(_check_template)]
"""The id of an Airflow Connection, in which the name of the user who triggered the run may be."""


class UsersModel(Model):
    """Whose Connection a run uses, and who may run here. (airflow_hybrid)"""

    connections: dict[NonEmpty, ConnectionId] = Field(
        default_factory=dict,
        description="Name of a user in Airflow -> Airflow Connection of that person; takes precedence over `conn_id`.",
    )
    allowed: Annotated[list[NonEmpty], Field(min_length=1)] | None = Field(
        None, description="Names of the users who may run steps here; default: everybody who has a Connection."
    )
    unattended: ConnectionId = Field(
        REFUSE,
        description="Airflow Connection for runs that nobody triggered (schedules, assets); `refuse` (default): such"
        " runs fail.",
    )


def gives_connections(users: UsersModel | None) -> bool:
    """Whether `users` has a Connection in the place of `conn_id`."""
    return users is not None and (bool(users.connections) or users.unattended != REFUSE)


def one_for_all(conn_id: str | None, users: UsersModel | None, others: dict[str, object]) -> str | None:
    """What is wrong with settings of a cluster by which all people would have the same access; None: nothing.

    :param others: settings that take precedence over a Connection, by their names.
    """
    if not gives_connections(users) and not is_template(conn_id or ""):
        return None
    for name, value in others.items():
        if value:
            return f"`{name}` would be the access of all users: leave it out, their Connections give it"
    return None
