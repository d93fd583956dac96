# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Compose projects: which programs are used, what their answers mean, what is said when they refuse."""

from __future__ import annotations

import json
import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError, DeployError
from airflow_hybrid.sites.connectors.base import NAME_LENGTH, TOKEN
from airflow_hybrid.sites.connectors.compose import ComposeConnector, pack
from airflow_hybrid.sites.containers.compose import Engine, find_engine
from airflow_hybrid.sites.containers.inspect import InspectedContainer, is_final, parse_containers
from airflow_hybrid.sites.hosts.local import LocalHost
from tests.raising import raising

TOKEN_OF_RUN = "ah-0a1b2c-0123456789"


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "wanted", "engine"),
    [
        ({"docker": "exit 0", "podman": "exit 0", "podman-compose": "exit 0"}, None, "docker compose on docker"),
        # the plugin is there, the daemon is not
        (
            {"docker": '[ "$1" != info ]', "podman": '[ "$1" != compose ]', "podman-compose": "exit 0"},
            None,
            "podman-compose on podman",
        ),
        ({"docker": "exit 1", "docker-compose": "exit 0", "podman": "exit 0"}, None, "docker-compose on podman"),
        ({"podman": '[ "$1" != compose ]'}, None, "no compose on podman"),
        (
            {"docker": "exit 0", "podman": "exit 0", "podman-compose": "exit 0"},
            "podman-compose",
            "podman-compose on podman",
        ),
        # docker's program, podman's service: only podman runs health checks
        (
            {"docker": 'case $1 in version) echo "Podman Engine" ;; esac', "podman": "exit 0"},
            "docker compose",
            "docker compose on podman",
        ),
    ],
)  # fmt: skip
async def test_the_first_compose_whose_engine_answers_is_used(
    programs: dict[str, str], wanted: str | None, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in programs.items():
        program(tmp_path / "bin", name, text)
    for name in ("sh", "grep"):
        os.symlink(f"/bin/{name}", tmp_path / "bin" / name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert str(await find_engine(LocalHost(), wanted)) == engine


async def test_a_missing_engine_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = (
        "local (localhost): there is no docker compose\n"
        "  -> install Docker with its compose plugin, or podman and podman-compose, where the containers are to run"
    )
    with raising(DeployError, message) as caught:
        await find_engine(LocalHost(), "docker compose")
    assert not caught.value.retryable


def inspected(**state: Any) -> str:
    check = state.pop("check", None)
    labels = {"com.docker.compose.project": "p", "com.docker.compose.service": "web"}
    config = {"Labels": labels, **({"Healthcheck": {"Test": check}} if check else {})}
    return json.dumps([{"Id": "1", "Name": "/p-web-1", "Config": config, "State": state}])


@pytest.mark.parametrize(
    ("state", "ready", "failed"),
    [
        ({"Status": "running"}, True, False),
        ({"Status": "created"}, False, False),
        ({"Status": "running", "check": ["CMD", "x"], "Health": {"Status": "starting"}}, False, False),
        ({"Status": "running", "check": ["CMD", "x"], "Healthcheck": {"Status": "healthy"}}, True, False),
        ({"Status": "running", "check": ["CMD", "x"], "Health": {"Status": "unhealthy"}}, False, True),
        ({"Status": "running", "check": ["NONE"]}, True, False),
        # a service that had something to do once
        ({"Status": "exited", "ExitCode": 0}, True, False),
        ({"Status": "exited", "ExitCode": 3}, False, True),
        # before its first check nothing is known: that is not healthy
        ({"Status": "running", "check": ["CMD", "x"]}, False, False),
    ],
)
def test_a_container_is_ready_when_it_runs_and_is_healthy(state: dict[str, Any], ready: bool, failed: bool) -> None:
    (container,) = parse_containers(inspected(**state))
    assert (container.ready, container.failed, container.service) == (ready, failed, "web")


def test_parallel_runs_have_projects_of_their_own() -> None:
    def name(deployment: str, token: str) -> str:
        return ComposeConnector(Deployment(deployment, "docker-compose", token=token)).deployed_name

    names = [
        name(d, t) for d in ("box", "Box", "b.x", "b" * 80, "b" * 81) for t in (TOKEN_OF_RUN, TOKEN_OF_RUN[:-1] + "a")
    ]
    assert len(set(names)) == 10
    assert all(len(n) <= NAME_LENGTH and TOKEN.match(n) and n == n.lower() and "." not in n for n in names)


def test_only_the_folder_of_the_compose_file_is_sent(tmp_path: Path) -> None:
    (tmp_path / "app" / "conf").mkdir(parents=True)
    (tmp_path / "app" / "c.yml").write_text("services: {}")
    (tmp_path / "app" / "conf" / "x").write_text("x")
    with tarfile.open(fileobj=BytesIO(pack(tmp_path / "app", [tmp_path / "app" / "c.yml"]))) as archive:
        names = archive.getnames()
    assert sorted(names) == [".", "./c.yml", "./conf", "./conf/x"]
    message = (
        f"the compose file {tmp_path}/other.yml is not below {tmp_path}/app, the only folder that is sent\n"
        "  -> keep the files in one folder, or name their common folder as `projectDirectory`"
    )
    with raising(ConfigError, message):
        pack(tmp_path / "app", [tmp_path / "other.yml"])
    with open(tmp_path / "app" / "data", "wb") as large:
        large.truncate(65 << 20)
    message = (
        f"the compose file's folder {tmp_path}/app has more than 64 MiB\n"
        "  -> keep data out of it: the workflow's files are brought to where they are needed anyway"
    )
    with raising(ConfigError, message):
        pack(tmp_path / "app", [tmp_path / "app" / "c.yml"])


def test_messages_hold_the_tools_words_without_its_progress() -> None:
    from airflow_hybrid.sites.containers.inspect import last_words

    text = " Network p_default Creating \n Container p-web-1 Started \n\nError: no such image\n" + "a" * 64 + "\n"
    assert last_words(text) == "\n  Error: no such image"


def test_engines_and_containers_have_readable_names() -> None:
    assert str(Engine("docker compose", "docker")) == "docker compose on docker"
    assert str(InspectedContainer("1", "p-web-1", "web", 1, "exited", 3, None)) == "web (p-web-1): exited, exit code 3"


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("Trying to pull docker.io/x/y:1...\nError: reading manifest 1 in docker.io/x/y: manifest unknown", True),
        ("Error response from daemon: pull access denied for x", True),
        (
            # podman 4.3 with CNI, where a killed attempt has left the container's address allocated
            'time="2026-11-28T14:02:43Z" level=warning msg="Failed to load cached network config: network pcx_default '
            'not found in CNI cache, falling back to loading network pcx_default from disk"\n'
            'Error: unable to start container "e7e8808b": plugin type="bridge" failed (add): cni plugin bridge failed: '
            "failed to allocate for range 0: 10.89.0.2 has been allocated to e7e8808b, "
            "duplicate allocation is not allowed",
            False,
        ),
    ],
)
def test_what_the_next_attempt_may_mend_is_tried_again(said: str, final: bool) -> None:
    assert is_final(said) is final
