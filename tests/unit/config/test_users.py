# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whose Connection a deployment uses in a run."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.config import Deployment, parse_deployments
from airflow_hybrid.config.users import (
    TriggeredBy,
    check_usable,
    connection_ids,
    deployments_of_user,
    is_of_a_person,
)
from airflow_hybrid.errors import ConfigError

TEMPLATE = "site_{{ triggering_user }}"
NOBODY = TriggeredBy(None, unattended=True)
ADD = "in the hybrid file"


def login(**config: Any) -> dict[str, Deployment]:
    return {"login": parse_deployments({"login": {"type": "ssh", "config": config}})["login"]}


def cluster(kind: str, **config: Any) -> Deployment:
    chart = {"chart": "oci://example.org/c", "namespace": "n"} if kind == "helm" else {"services": {"s": {"pod": "p"}}}
    return parse_deployments({"cluster": {"type": kind, "config": {**chart, **config}}})["cluster"]


def resolved(by: TriggeredBy, **config: Any) -> Deployment:
    return deployments_of_user(login(**config), by)["login"]


def connections(by: TriggeredBy, **config: Any) -> list[str]:
    deployment = resolved(by, **config)
    check_usable(deployment)
    return sorted(set(connection_ids(deployment.config)))


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("anna", {"conn_id": TEMPLATE}, ["site_anna"]),
        ("ben", {"conn_id": TEMPLATE, "nodes": ["a", "b"]}, ["site_ben"]),
        ("ben", {"conn_id": TEMPLATE, "users": {"connections": {"ben": "b2"}}}, ["b2"]),
        ("anna", {"conn_id": TEMPLATE, "users": {"connections": {"ben": "b2"}}}, ["site_anna"]),
        ("Ben B. <b@x>", {"users": {"connections": {"Ben B. <b@x>": "b2"}}}, ["b2"]),
        ("anna", {"conn_id": TEMPLATE, "tunnel": {"conn_id": "hop_{{triggering_user}}"}}, ["hop_anna", "site_anna"]),
        ("anna", {"conn_id": "shared", "users": {"allowed": ["anna"]}}, ["shared"]),
        (None, {"conn_id": TEMPLATE, "users": {"unattended": "robot"}}, ["robot"]),
    ],
)
def test_each_run_has_the_connections_of_its_user(
    name: str | None, config: dict[str, Any], expected: list[str]
) -> None:
    assert connections(TriggeredBy(name, unattended=name is None), **config) == expected


NOT_A_PART = (
    " has no Connection for deployment 'login': only a name of lower-case letters, digits, `.`, `_` and `-` can be a"
    " part of `conn_id`\n  -> add the name to `users.connections` of deployment 'login' in the hybrid file"
)
OF_PERSON = "deployment 'login' is used with the Connection of whoever does"
TRIGGER = "  -> trigger the DAG yourself, or give runs by schedules and assets a Connection: `users.unattended` of"


@pytest.mark.parametrize(
    ("by", "config", "message"),
    [
        (
            TriggeredBy("dora"),
            {"conn_id": TEMPLATE, "users": {"allowed": ["anna"]}},
            "'dora' may not use deployment 'login'\n"
            "  -> add the name to `users.allowed` of deployment 'login' in the hybrid file",
        ),
        (
            TriggeredBy("dora"),
            {"users": {"connections": {"anna": "a"}}},
            "'dora' has no Connection for deployment 'login'\n"
            "  -> add the name to `users.connections` of deployment 'login' in the hybrid file",
        ),
        (
            TriggeredBy("ben2"),
            {"conn_id": TEMPLATE, "users": {"connections": {"ben": "site_ben2"}}},
            "'ben2' has no Connection for deployment 'login': 'site_ben2' is that of 'ben'\n"
            "  -> add the name to `users.connections` of deployment 'login' in the hybrid file",
        ),
        *(
            (TriggeredBy(name), {"conn_id": TEMPLATE}, f"{shown}{NOT_A_PART}")
            for name, shown in [
                ("Anna", "'Anna'"),
                ("../x", "'../x'"),
                ("anna\n", r"'anna\n'"),
                ("{{ triggering_user }}", "'{{ triggering_user }}'"),
                ("\u0430nna", "'\u0430nna'"),
                (".anna", "'.anna'"),
                ("a" * 101, f"'{'a' * 101}'"),
            ]
        ),
        (
            NOBODY,
            {"conn_id": TEMPLATE},
            f"nobody triggered this run, and {OF_PERSON}\n{TRIGGER} deployment 'login' in the hybrid file",
        ),
        (
            NOBODY,
            {"nodes": ["a"], "users": {"allowed": ["anna"]}},
            f"nobody triggered this run, and {OF_PERSON}\n{TRIGGER} deployment 'login' in the hybrid file",
        ),
        (
            TriggeredBy(None),
            {"conn_id": TEMPLATE, "users": {"unattended": "robot"}},
            "Airflow does not say who triggered this run, and deployment 'login' is used with the Connection of that"
            " person\n  -> trigger the DAG in the web UI, by the REST API or by `airflow dags trigger`",
        ),
        (
            NOBODY,
            {"conn_id": TEMPLATE, "users": {"unattended": "robot"}, "tunnel": {"conn_id": "hop_{{ triggering_user }}"}},
            "nobody triggered this run, and 'hop_{{ triggering_user }}' of deployment 'login' is the Connection of"
            " whoever does\n  -> trigger the DAG yourself: `users.unattended` takes the place of the deployment's own"
            " `conn_id` only, not of that of a node or a tunnel",
        ),
    ],
)
def test_a_run_without_a_connection_is_refused(by: TriggeredBy, config: dict[str, Any], message: str) -> None:
    deployment = resolved(by, **config)
    with pytest.raises(ConfigError) as caught:
        check_usable(deployment)
    assert str(caught.value) == message


def test_a_deployment_of_users_is_not_used_before_it_is_known_whose_run_it_is() -> None:
    with pytest.raises(ConfigError) as caught:
        check_usable(login(conn_id=TEMPLATE)["login"])
    assert str(caught.value) == (
        "deployment 'login' is used with the Connection of a person, and it is not said of whom"
    )


def test_only_accounts_that_differ_need_work_directories_of_their_own() -> None:
    by = TriggeredBy("anna")
    assert resolved(by, conn_id=TEMPLATE).personal
    assert resolved(by, users={"connections": {"anna": "a"}}).personal
    assert not resolved(by, conn_id="shared", users={"allowed": ["anna"]}).personal
    assert not resolved(by, conn_id="shared").personal


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"conn_id": "{{ triggering_user }}"}, "alone would let a user name select any Connection"),
        ({"conn_id": "a_{{ ds }}"}, "the only template in `conn_id` is `{{ triggering_user }}`, once"),
        ({"conn_id": "a_{{ params.user }}"}, "the only template in `conn_id` is `{{ triggering_user }}`, once"),
        ({"conn_id": TEMPLATE * 2}, "the only template in `conn_id` is `{{ triggering_user }}`, once"),
        ({"conn_id": TEMPLATE, "username": "us"}, "`username` would be the account of all users"),
        (
            {"conn_id": TEMPLATE, "nodes": [{"hostname": "h", "username": "us"}]},
            "`username` would be the account of all",
        ),
        (
            {"nodes": [{"conn_id": "a"}], "users": {"connections": {"ben": "b"}}},
            "the Connections of `users` have no effect: every node has a `conn_id` of its own",
        ),
        ({"users": {"connections": {"ben": TEMPLATE}}}, "must be the id of a Connection"),
        ({"users": {"allowed": ["anna"]}}, "an ssh deployment needs `nodes`, or `conn_id`"),
    ],
)
def test_settings_that_would_mix_accounts_are_refused(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        login(**config)
    assert problem in str(caught.value)


def test_a_connection_by_which_somebody_logs_in_is_known() -> None:
    deployments = login(conn_id=TEMPLATE, users={"connections": {"ben": "b2"}, "unattended": "robot"})
    ids = ("site_anna", "b2", "robot", "aws_default")
    assert [is_of_a_person(deployments, conn_id) for conn_id in ids] == [True, True, True, False]


@pytest.mark.parametrize("kind", ["kubernetes", "helm"])
def test_clusters_have_users_too(kind: str) -> None:
    deployment = cluster(kind, conn_id=TEMPLATE, users={"connections": {"ben": "b2"}, "unattended": "robot"})
    for by, conn_id in ((TriggeredBy("anna"), "site_anna"), (TriggeredBy("ben"), "b2"), (NOBODY, "robot")):
        own = deployments_of_user({"cluster": deployment}, by)["cluster"]
        assert (own.config["conn_id"], own.personal, own.refusal) == (conn_id, True, "")
    table = cluster(kind, users={"connections": {"ben": "b2"}})
    assert deployments_of_user({"cluster": table}, TriggeredBy("anna"))["cluster"].refusal == (
        "'anna' has no Connection for deployment 'cluster'"
    )


@pytest.mark.parametrize("kind", ["kubernetes", "helm"])
@pytest.mark.parametrize("people", [{"conn_id": TEMPLATE}, {"users": {"connections": {"ben": "b2"}}}])
@pytest.mark.parametrize("other", [{"kubeconfig": "k"}, {"inCluster": True}])
def test_one_access_to_a_cluster_for_all_is_refused(kind: str, people: Any, other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster(kind, **people, **other)
    (key,) = other
    assert f"`{key}` would be the access of all users: leave it out, their Connections give it" in str(caught.value)
