# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Real containers: podman on this machine, with images made here (no registry is asked)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.model import Target
from tests.conftest import unavailable
from tests.containers.engine import Bench

MAKE_IMAGES = Path(__file__).parents[1] / "conformance" / "make_images"
HOW = "run as root on Debian: apt-get install podman runc mmdebstrap; tests/conformance/make_images"


@pytest.fixture(scope="session")
def images() -> None:
    """Images by the names that CWL's conformance suites ask for: ``debian:stable-slim``, ``bash:4.4`` ..."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        unavailable("podman", "podman and root", HOW)
    made = subprocess.run([str(MAKE_IMAGES)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        unavailable("podman", f"local images, which could not be made ({made.stderr.strip()[-300:]})", HOW)


@pytest.fixture
def bench(images: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """This machine with podman."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    work = str(tmp_path / "work")
    local = Deployment("local", "local", workdir=work, containers={"runtime": "podman"})
    return Bench(tmp_path, {"local": local}, Target("local"))


def containers() -> list[str]:
    """Names of the containers of jobs that are there, running or not."""
    command = ["podman", "ps", "-a", "--format", "{{.Names}}", "--filter", "name=airflow-hybrid-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
