# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers in the hybrid file: ours, and StreamFlow's ``config.docker``."""

from __future__ import annotations

import pytest

from airflow_hybrid.config import bind, parse_deployments
from airflow_hybrid.config.containers import arguments
from airflow_hybrid.errors import ConfigError
from tests.unit.config.conftest import Load

FILE = """
workflows:
  w:
    type: cwl
    config:
      file: main.cwl
      docker:
        - {step: /a, deployment: {type: singularity, config: {nv: true, bind: ["/x:/y"]}}}
        - {step: /b/c, deployment: {type: none}}
        - {step: /d, deployment: {type: kubernetes}}
    bindings:
      - {step: /, target: site}
      - {step: /b, target: local}
deployments:
  site: {type: local, containers: podman}
"""


def test_a_deployment_names_what_runs_its_containers() -> None:
    found = parse_deployments({"a": {"type": "local", "containers": "podman"}, "b": {"type": "local"}})
    assert (found["a"].containers, found["b"].containers) == ({"runtime": "podman"}, None)
    options = {"runtime": "docker", "options": ["--init"]}
    assert parse_deployments({"a": {"type": "local", "containers": options}})["a"].containers == options


def test_an_unknown_runtime_is_an_error() -> None:
    with pytest.raises(ConfigError, match="containers"):
        parse_deployments({"a": {"type": "local", "containers": "rkt"}})


def test_a_step_may_have_another(load: Load) -> None:
    file = load(FILE)
    bindings = file.workflows["w"].bindings
    assert bind(bindings, "/a").containers == {"runtime": "singularity", "options": ["--nv", "--bind=/x:/y"]}
    assert bind(bindings, "/a").targets[0].deployment == "site"
    assert bind(bindings, "/b").containers is None
    assert bind(bindings, "/b/c").containers == {"runtime": "none", "options": []}
    assert bind(bindings, "/b/c").targets[0].deployment == "local"
    assert any("`kubernetes` runs no containers here" in notice for notice in file.notices)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"addHost": ["a:1", "b:2"], "privileged": True, "init": False},
            ["--add-host=a:1", "--add-host=b:2", "--privileged"],
        ),
        ({"cpuRTPeriod": 5, "ip6": "::1", "linkLocalIP": "x"}, ["--cpu-rt-period=5", "--ip6=::1", "--link-local-ip=x"]),
        (
            {"noHttps": True, "writableTmpfs": True, "containall": True},
            ["--no-https", "--writable-tmpfs", "--containall"],
        ),
        ({"rm": True, "cidfile": "x", "image": "y", "transferBufferSize": 1}, []),
    ],
)
def test_streamflows_options_are_arguments(config: dict[str, object], expected: list[str]) -> None:
    assert arguments(config) == expected
