# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers in the hybrid file: ours, and StreamFlow's ``config.docker``."""

from __future__ import annotations

import pytest

from airflow_hybrid.config import Deployment, bind, parse_deployments
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
    with pytest.raises(ConfigError) as caught:
        parse_deployments({"a": {"type": "local", "containers": "rkt"}})
    assert str(caught.value) == (
        "deployments.a.containers: must be 'auto', 'docker', 'podman', 'apptainer', 'singularity', 'charliecloud' or "
        "'none', not 'rkt'"
    )


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


# --- deployments that are an image -----------------------------------------------------------------------------------

PLACES = {
    "login": {"type": "ssh", "config": {"nodes": ["host"]}},
    "queue": {"type": "slurm", "wraps": "login"},
    "cluster": {"type": "kubernetes", "config": {"storage": {"claim": "c"}}},
}


def place(kind: str, config: dict[str, object], **more: object) -> Deployment:
    return parse_deployments({**PLACES, "box": {"type": kind, "config": config, **more}})["box"]


def test_a_file_of_streamflow_names_its_containers_as_ever() -> None:
    options = {"image": "debian:12", "volume": ["/data:/data"], "init": True, "cpus": 2.5, "transferBufferSize": 65536}
    assert place("docker", options).managed
    assert not place("docker", {"image": "x", "containerId": "0123"}, external=True).managed
    options = {"image": "docker://debian:12", "bind": ["/data:/data"], "nv": True, "network": "none"}
    assert not place("singularity", options, wraps="queue").managed


def test_a_container_stands_for_a_run_and_not_in_a_queue() -> None:
    assert place("podman", {"image": "x"}).managed
    assert place("podman", {"image": "x"}, wraps="login").managed
    assert not place("podman", {"image": "x"}, wraps="queue").managed


@pytest.mark.parametrize(
    ("kind", "config", "more", "message"),
    [
        ("docker", {}, {}, "config: the key `image` is missing"),
        (
            "docker",
            {"image": "x", "volumes": ["/a:/a"]},
            {},
            "config.volumes: unknown key `volumes`\n  -> did you mean `volume`?",
        ),
        (
            "docker",
            {"image": "x", "privileged": "yes"},
            {},
            "config.privileged: must be true or false, not 'yes'\n"
            "  -> in YAML 1.2 'yes' is a string: write true or false",
        ),
        (
            "docker",
            {"image": "x", "containerId": "y"},
            {},
            "config: `containerId` names a container that is not `external`\n"
            "  -> write `external: true` for a container that runs already, or leave out its id",
        ),
        (
            "docker",
            {"image": "x"},
            {"external": True},
            "config: an external container is named by `containerId`\n  -> or leave out `external` to have it made",
        ),
        (
            "docker",
            {"containerId": "y"},
            {"wraps": "queue", "external": True},
            "config: the nodes of `queue` do not share a running container\n"
            "  -> give `image`: each job of the queue gets a container of its own",
        ),
        (
            "podman",
            {"image": "x"},
            {"wraps": "cluster"},
            "wraps: a pod's jobs are in containers already\n"
            "  -> give `image` to a service of the `kubernetes` deployment, and bind steps to that",
        ),
        (
            "singularity",
            {"image": "x", "instanceName": "y"},
            {},
            "config.instanceName: steps do not run in an instance started by somebody else\n"
            "  -> give `image`: each job gets a container of its own, no instance has to run",
        ),
        ("apptainer", {}, {}, "config: the key `image` is missing"),
        ("charliecloud", {"image": "x", "nv": True}, {}, "config.nv: unknown key `nv`\n  -> known: image, bind"),
    ],
)
def test_what_makes_no_container_is_said(
    kind: str, config: dict[str, object], more: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        place(kind, config, **more)
    assert str(caught.value) == f"deployments.box.{message}"
