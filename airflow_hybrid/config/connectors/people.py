# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whose Connection a run uses at a deployment of several people; see :mod:`airflow_hybrid.config.users`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from airflow_hybrid.config.base import ConnectionId, Model, NonEmpty
from airflow_hybrid.config.users import REFUSE, template_problem


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
