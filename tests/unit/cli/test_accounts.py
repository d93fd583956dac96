# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which logins commands use, where each user has a Connection."""

from __future__ import annotations

import pytest

from airflow_hybrid.cli import accounts
from airflow_hybrid.cli.accounts import deployments_for, scopes_of_users
from airflow_hybrid.cli.cleanup import CleanupScope
from airflow_hybrid.config import parse_deployments
from airflow_hybrid.config.users import connection_ids

USERS = {"connections": {"ben": "b2"}, "allowed": ["anna", "ben", "carla"], "unattended": "robot"}
DEPLOYMENTS = parse_deployments(
    {
        "login": {"type": "ssh", "config": {"conn_id": "site_{{ triggering_user }}", "users": USERS}},
        "cluster": {"type": "slurm", "wraps": "login"},
        "alone": {"type": "ssh", "config": {"conn_id": "x_{{ triggering_user }}"}},
        "everybodys": {"type": "ssh", "config": {"conn_id": "shared"}},
    }
)


def looked_at(users: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """-> each deployment that is looked at, with its Connections; and what was said."""
    for name in ("SITE_ANNA", "B2", "ROBOT", "X_ANNA"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", '{"conn_type": "ssh", "host": "h"}')
    monkeypatch.setattr(accounts, "users_of_runs", lambda dag_ids: {"anna", "dora", "Bad Name"})
    said: list[str] = []
    scopes = scopes_of_users([CleanupScope(dict(DEPLOYMENTS), {"d"})], users, said.append)
    seen = [
        f"{name}: {', '.join(sorted(set(connection_ids(deployment.config))))}"
        for scope in scopes
        for name, deployment in scope.deployments.items()
        if name not in scope.skipped and name != "local"
    ]
    return sorted(seen), said


def test_cleaning_up_looks_with_every_login_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, said = looked_at([], monkeypatch)
    assert seen == [
        "alone: x_anna", "cluster: ", "cluster: ", "cluster: ", "everybodys: shared", "login: b2", "login: robot",
        "login: site_anna",
    ]  # fmt: skip
    assert said == [
        f"kept: what the Connection {name!r} of {deployment} leads to: it does not exist"
        for deployment, name in (("login", "site_carla"), ("alone", "x_ben"), ("alone", "x_carla"), ("alone", "x_dora"))
    ]


def test_cleaning_up_for_one_user_touches_nothing_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(["ben"], monkeypatch) == (
        ["cluster: ", "login: b2"],
        ["kept: what the Connection 'x_ben' of alone leads to: it does not exist"],
    )


def test_a_check_says_that_it_needs_a_user() -> None:
    resolved = deployments_for(DEPLOYMENTS, None)
    assert set(connection_ids(resolved["login"].config)) == {"robot"}
    assert (resolved["alone"].refusal, resolved["alone"].refusal_hint) == (
        "deployment 'alone' is used with the Connection of a person",
        "say whose: --user NAME",
    )
    assert set(connection_ids(deployments_for(DEPLOYMENTS, "anna")["alone"].config)) == {"x_anna"}
