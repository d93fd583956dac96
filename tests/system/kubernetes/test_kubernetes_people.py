# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes: two people with Connections of their own."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from airflow_hybrid.config import Deployment, parse_deployments
from airflow_hybrid.config.users import TriggeredBy, deployments_of_user
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import open_connector
from tests.system.kube import Kube
from tests.unit.engine.fragments import execution, spec

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo $RANDOM$$']
inputs: {}
outputs: {out: stdout}
"""


def deployments(kube: Kube) -> Mapping[str, Deployment]:
    config = {key: value for key, value in kube.config().items() if key not in ("kubeconfig", "namespace")}
    return parse_deployments(
        {"pods": {"type": "kubernetes", "config": {"conn_id": "pods_{{ triggering_user }}", **config}}}
    )


@pytest.fixture(autouse=True)
def _connections(kube: Kube, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    access = {"kube_config": yaml.safe_load(kube.kubeconfig.read_text()), "namespace": kube.namespace}
    for user, extra in (("ANNA", access), ("BEN", access), ("CARLA", {"namespace": kube.namespace})):
        monkeypatch.setenv(f"AIRFLOW_CONN_PODS_{user}", json.dumps({"conn_type": "kubernetes", "extra": extra}))


async def output_of(kube: Kube, user: str, folder: Path) -> tuple[str, str]:
    """Path and text of the output of one job of a user, who accepts results of other runs."""
    folder.mkdir(exist_ok=True)
    of_user = deployments_of_user(deployments(kube), TriggeredBy(user))
    made = spec(folder, of_user, {"target": "pods"}, [{}], TOOL, origin=secrets.token_hex(4))
    outcome = await execution(replace(made, reuse=True, reuse_asked=True))[0].run()
    assert [result.status for result in outcome.results] == ["success"]
    (value,) = (result.outputs["out"] for result in outcome.results)
    path = FileRef.parse(value["location"]).path
    (host,) = await open_connector(of_user, "pods").hosts()
    return path, (await host.run(f"cat {path}")).out


async def test_people_share_a_volume_but_no_folder(kube: Kube, tmp_path: Path) -> None:
    anna, ben = await asyncio.gather(*(output_of(kube, user, tmp_path / user) for user in ("anna", "ben")))
    await close_all()
    assert anna[0].startswith("/airflow_hybrid/airflow_hybrid/of-pods_anna/")
    assert ben[0].startswith("/airflow_hybrid/airflow_hybrid/of-pods_ben/")
    assert anna[1] != ben[1]


async def test_a_person_never_gets_the_access_of_airflow(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    with pytest.raises(ConfigError) as caught:
        await output_of(kube, "carla", tmp_path / "carla")
    assert str(caught.value) == (
        "Kubernetes (pods_carla): the Connection 'pods_carla' says nothing about how to reach the cluster\n"
        "  -> the default kubeconfig is Airflow's own, and this is the Connection of one person: give it `kube_config`"
        " or `kube_config_path`"
    )
    await close_all()
