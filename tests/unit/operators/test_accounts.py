# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A person without a Connection is told before anything runs, and two people share nothing in a process."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType

from airflow_hybrid.config import Deployment, parse_bindings, parse_deployments
from airflow_hybrid.errors import ConfigError, InputError
from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.accounts import check_accounts
from airflow_hybrid.operators.context.run import deployments_of_run
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.files.requests import StageRequest, key_of
from airflow_hybrid.sites.hosts.base import Host

NODES = ["node1.example.org"]
DEPLOYMENTS = parse_deployments(
    {
        "login": {"type": "ssh", "config": {"conn_id": "site_{{ triggering_user }}", "nodes": NODES}},
        "cluster": {"type": "slurm", "wraps": "login"},
        "gpu": {"type": "ssh", "config": {"users": {"connections": {"anna": "gpu_a", "ben": "gpu_b"}}}},
        "other": {"type": "ssh", "config": {"conn_id": "other_{{ triggering_user }}"}},
        "pods": {
            "type": "kubernetes",
            "config": {"conn_id": "site_{{ triggering_user }}", "services": {"s": {"pod": "p"}}},
        },
    }
)
ADD = "--conn-type ssh --conn-host HOST --conn-login ACCOUNT ..., or name another one in `users` of the deployment in"


def context(user: str | None, run_type: DagRunType = DagRunType.MANUAL) -> Any:
    return {"dag_run": SimpleNamespace(triggering_user_name=user, run_type=run_type, conf={"triggering_user": "ben"})}


def ground(*targets: str) -> Ground:
    bindings = [{"step": f"/{name}", "target": name} for name in targets]
    return Ground(DEPLOYMENTS, parse_bindings(bindings))


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in (("SITE_ANNA", "ssh"), ("GPU_A", "ssh"), ("SITE_EVE", "postgres")):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": kind, "host": "h", "login": name.lower()}))


def test_who_has_a_connection_for_all_that_steps_are_bound_to_may_run() -> None:
    check_accounts(ground("cluster", "gpu"), context("anna"))


@pytest.mark.parametrize(
    ("user", "targets", "message"),
    [
        (
            "dora",
            ["cluster"],
            "'dora' has no Connection for deployment 'login': 'site_dora' does not exist\n"
            f"  -> airflow connections add site_dora {ADD} the hybrid file",
        ),
        (
            "eve",
            ["login"],
            "'eve' has no Connection for deployment 'login': 'site_eve' is of type 'postgres', not `ssh`\n"
            f"  -> airflow connections add site_eve {ADD} the hybrid file",
        ),
        (
            "anna",
            ["pods"],
            "'anna' has no Connection for deployment 'pods': 'site_anna' is of type 'ssh', not `kubernetes`\n"
            '  -> airflow connections add site_anna --conn-type kubernetes --conn-extra \'{"kube_config_path": ...,'
            ' "namespace": ...}\', or name another one in `users` of the deployment in the hybrid file',
        ),
        (
            "dora",
            ["cluster", "gpu"],
            "2 problems with the deployments of this DAG\n"
            "'dora' has no Connection for deployment 'gpu'\n"
            "  -> add the name to `users.connections` of deployment 'gpu' in the hybrid file\n"
            "'dora' has no Connection for deployment 'login': 'site_dora' does not exist\n"
            f"  -> airflow connections add site_dora {ADD} the hybrid file",
        ),
    ],
)
def test_who_has_none_gets_one_message(user: str, targets: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_accounts(ground(*targets), context(user))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("run_type", "told"),
    [
        (DagRunType.SCHEDULED, "nobody triggered this run"),
        (DagRunType.ASSET_TRIGGERED, "nobody triggered this run"),
        (DagRunType.OPERATOR_TRIGGERED, "nobody triggered this run"),
        (DagRunType.MANUAL, "Airflow does not say who triggered this run"),
        (DagRunType.BACKFILL, "Airflow does not say who triggered this run"),
    ],
)
def test_runs_without_a_user_are_refused(run_type: DagRunType, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_accounts(ground("login"), context(None, run_type))
    assert str(caught.value).startswith(f"{told}, and deployment 'login'")


async def _host(deployments: Any, name: str) -> Host:
    return (await open_connector(deployments, name).hosts())[0]


async def test_two_people_share_nothing_of_a_host_that_has_one_name() -> None:
    anna, ben = (deployments_of_run(DEPLOYMENTS, context(user)) for user in ("anna", "ben"))
    hosts = [await _host(deployments, "cluster") for deployments in (anna, ben)]
    assert [host.title for host in hosts] == ["login (node1.example.org)"] * 2
    assert hosts[0].key != hosts[1].key
    request = StageRequest(FileRef("local", "localhost", "/f").uri, hosts[0], "/store/f")
    assert key_of(request) != key_of(StageRequest(request.source, hosts[1], request.path))
    again = await _host(deployments_of_run(DEPLOYMENTS, context("anna")), "cluster")
    assert again is hosts[0]


async def test_a_deployment_that_the_run_may_not_use_has_no_connector() -> None:
    deployments = deployments_of_run(DEPLOYMENTS, context("dora"))
    with pytest.raises(ConfigError) as caught:
        open_connector(deployments, "gpu")
    assert str(caught.value) == (
        "'dora' has no Connection for deployment 'gpu'\n"
        "  -> add the name to `users.connections` of deployment 'gpu' in the hybrid file"
    )
    with pytest.raises(ConfigError):
        open_connector(DEPLOYMENTS, "cluster")


@pytest.mark.parametrize(
    "location", ["s3://site_ben@bucket/f", "ssh://site%5Fben@h/home/ben/.ssh/id", "s3://gpu_b@b/f"]
)
def test_an_input_names_no_connection_of_a_person(location: str) -> None:
    origins = Origins(Ground(DEPLOYMENTS), "dag", "run", {}, {}, cast("Any", str))
    conn_id = "gpu_b" if "gpu_b" in location else "site_ben"
    with pytest.raises(InputError) as caught:
        origins.check_connections({"x": [{"class": "File", "location": location}]})
    assert caught.value.hint == "use a Connection of the object store, with another name"
    assert caught.value.message.endswith(f" names the Connection {conn_id!r}, which is for accounts at a deployment")
    origins.check_connections({"x": {"class": "File", "location": "s3://aws_default@bucket/f"}})


def test_deployments_of_everybody_are_as_they_were() -> None:
    deployments = {"here": Deployment("here", "local")}
    assert deployments_of_run(deployments, cast("Any", {})) is deployments
