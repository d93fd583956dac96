# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Several people use one DAG, each with an account of their own at the site: files and jobs are of the right one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK
from tests.system.airflow_api import AirflowApi
from tests.system.airflow_stack import AirflowStack
from tests.system.at_sites.test_accounts import ACCOUNTS, add_accounts
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed


@pytest.fixture(scope="module")
def dag_id(airflow: AirflowStack, dags: Dags, testbed: Testbed) -> str:
    """A DAG of one step at ``cloud``, with a Connection for each of two users."""
    cloud = testbed.sites["cloud"]
    add_accounts(testbed, "cloud")
    for user, (name, _) in ACCOUNTS.items():
        extra = {"key_file": str(cloud.key), "host_key": cloud.host_key}
        airflow.api.add_connection(f"cloud_{user}", "ssh", host=cloud.host, login=name, port=cloud.port, extra=extra)
    hybrid = {
        "version": "v1.0",
        "workflows": {
            "accounts": {
                "type": "cwl",
                "config": {"file": "whoami.cwl"},
                "bindings": [{"step": "/", "target": "theirs"}],
            }
        },
        "deployments": {
            # the host is the same for all: nothing but the Connection tells the logins apart
            "theirs": {
                "type": "ssh",
                "config": {"conn_id": "cloud_{{ triggering_user }}", "nodes": [{"hostname": cloud.host}]},
            }
        },
    }
    name = dags.add("accounts", hybrid)
    airflow.api.unpause(name)
    return name


@pytest.fixture(scope="module")
def people(airflow: AirflowStack) -> Iterator[dict[str, AirflowApi]]:
    """Each user's own client of the API."""
    clients = {name: AirflowApi(airflow.url, name, airflow.password) for name in (*ACCOUNTS, "dora")}
    yield clients
    for client in clients.values():
        client.close()


def account_and_folder(airflow: AirflowStack, dag_id: str, run: str) -> tuple[str, str]:
    value = airflow.api.xcom(dag_id, run, OUTPUTS_TASK)
    account, folder = Path(FileRef.parse(value["out"]["location"]).path).read_text().splitlines()
    return account, folder


@pytest.mark.slow
def test_a_run_has_the_account_of_whoever_triggered_it_whoever_clears_it(
    airflow: AirflowStack, dag_id: str, people: dict[str, AirflowApi], testbed: Testbed
) -> None:
    # at the same time, in one triggerer
    runs = {user: people[user].trigger(dag_id) for user in ACCOUNTS}
    for user, run in runs.items():
        airflow.api.succeed(dag_id, run)
        account, folder = account_and_folder(airflow, dag_id, run)
        assert account == ACCOUNTS[user][0] and folder.startswith(f"/home/{account}/airflow_hybrid/")
    people["ben"].clear(dag_id, runs["anna"])
    airflow.api.succeed(dag_id, runs["anna"])
    account, folder = account_and_folder(airflow, dag_id, runs["anna"])
    assert account == "acct_a" and "/g1-" in folder
    for name, _ in ACCOUNTS.values():
        owners = testbed.exec("cloud", "find", f"/home/{name}/airflow_hybrid", "-printf", "%u\n").split()
        assert set(owners) == {name}


@pytest.mark.slow
def test_a_user_without_a_connection_gets_one_message(
    airflow: AirflowStack, dag_id: str, people: dict[str, AirflowApi]
) -> None:
    run = people["dora"].trigger(dag_id)
    assert airflow.api.wait_run(dag_id, run)["state"] == "failed"
    states = airflow.api.states(dag_id, run)
    assert states.pop(INPUTS_TASK) == "failed" and set(states.values()) == {"upstream_failed"}
    log = airflow.api.log(dag_id, run, INPUTS_TASK)
    assert log.count("no Connection for deployment") == 1
    assert (
        "'dora' has no Connection for deployment 'theirs': 'cloud_dora' does not exist\n"
        "  -> airflow connections add cloud_dora --conn-type ssh --conn-host HOST --conn-login ACCOUNT ..., or name"
        " another one in `users` of the deployment in the hybrid file"
    ) in log
