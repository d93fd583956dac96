# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Connections that only a secrets backend has: workers and triggerer use them as those of Airflow's database."""

from __future__ import annotations

import json
from typing import Any

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import AirflowApiError
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed


def test_worker_and_triggerer_log_in_with_a_connection_of_a_secrets_backend(
    airflow: AirflowStack, dags: Dags, testbed: Testbed
) -> None:
    site = testbed.sites["cloud"]
    extra = {"key_file": str(site.key), "host_key": site.host_key}
    login = {"conn_type": "ssh", "host": site.host, "login": site.user, "port": site.port, "extra": extra}
    dags.secrets.write_text(json.dumps({"in_the_backend": login}))
    ssh: dict[str, Any] = {"type": "ssh", "config": {"conn_id": "in_the_backend"}, "workdir": "/home/clouduser/secrets"}
    deployments = {"by_worker": {**ssh, "deferrable": False}, "by_triggerer": ssh}
    bindings = [{"step": "/first", "target": "by_worker"}, {"step": "/second", "target": "by_triggerer"}]
    workflow = {"type": "cwl", "config": {"file": "host_name.cwl"}, "bindings": bindings}
    name = dags.add("secrets", {"version": "v1.0", "workflows": {"secrets": workflow}, "deployments": deployments})
    try:
        airflow.api.call("GET", "/connections/in_the_backend")
    except AirflowApiError as error:
        assert " 404 " in str(error), error
    else:
        raise AssertionError("Airflow's database has the Connection")
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {"greeting": "hello"})
    airflow.api.succeed(name, run)
    host = testbed.run("cloud", "uname -n").strip()
    assert airflow.api.xcom(name, run, OUTPUTS_TASK) == {"names": f"hello {host} {host}"}
