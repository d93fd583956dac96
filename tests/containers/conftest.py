# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Real containers on this machine, with images made here (no registry is asked).

podman and charliecloud are real; docker is the real client on podman's API; apptainer, which Debian does not have, is a
program of the same command line that starts real containers.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.model import Target
from airflow_hybrid.sites.batches.script import container_name
from tests.containers.engine import Bench
from tests.needs import unavailable

MAKE_IMAGES = Path(__file__).parents[1] / "conformance" / "make_images"
MINI = "localhost/airflow_hybrid-tests/mini:1"
DOCKER_SOCKET = Path("/run/docker.sock")
HOW = "run as root on Debian: apt-get install podman runc mmdebstrap busybox-static; tests/conformance/make_images"


@pytest.fixture(scope="session")
def images() -> Path:
    """Images by the names that CWL's suites ask for, and :data:`MINI`; -> an archive of the latter's files."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        unavailable("podman", "podman and root", HOW)
    made = subprocess.run([str(MAKE_IMAGES)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        unavailable("podman", f"local images, which could not be made ({made.stderr.strip()[-300:]})", HOW)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("MAKE_IMAGES_CACHE") or f"{cache}/airflow_hybrid-images") / "mini.tar"


def _make(root: Path, runtime: str) -> Bench:
    local = Deployment("local", "local", workdir=str(root / "work"), containers={"runtime": runtime})
    return Bench(root, {"local": local}, Target("local"), runtime=runtime)


@pytest.fixture
def bench(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """This machine with podman."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    return _make(tmp_path, "podman")


@pytest.fixture(params=["podman", "docker", "apptainer", "charliecloud"])
def anywhere(request: pytest.FixtureRequest, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """This machine with each of the runtimes."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    if request.param != "podman":
        request.getfixturevalue(f"_{request.param}")
    return _make(tmp_path, request.param)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


@pytest.fixture(scope="session")
def _docker(images: Path) -> Iterator[None]:
    if shutil.which("docker") is None:
        unavailable(
            "docker", "docker's client", "apt-get install docker.io (no daemon is needed: podman serves its API)"
        )
    if _is_served(DOCKER_SOCKET):
        unavailable("docker", "no other docker daemon here", f"end the one that serves {DOCKER_SOCKET}")
    DOCKER_SOCKET.unlink(missing_ok=True)  # tests that were killed leave it
    # the service ends with these tests, however they end
    serve = ["setpriv", "--pdeathsig", "KILL", "podman", "system", "service", "--time=0", f"unix://{DOCKER_SOCKET}"]
    service = subprocess.Popen(serve)
    try:
        while not DOCKER_SOCKET.exists():
            assert service.poll() is None
            time.sleep(0.1)
        yield
    finally:
        service.terminate()
        service.wait()
        DOCKER_SOCKET.unlink(missing_ok=True)


@pytest.fixture
def _apptainer(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "programs" / "apptainer"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{(Path(__file__).parent / 'fake_apptainer.py').read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.fixture
def _charliecloud(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ch-run") is None:
        how = "apt-get install --no-install-recommends charliecloud python3-lark python3-requests"
        unavailable("charliecloud", "charliecloud", how)
    # ch-image is a script of Debian's own Python
    monkeypatch.setenv("PATH", f"/usr/bin:/bin:{os.environ['PATH']}")
    environment = {**os.environ, "USER": "root"}
    listed = subprocess.run(["ch-image", "list"], env=environment, capture_output=True, text=True, check=True)
    if MINI not in listed.stdout.split():
        subprocess.run(["ch-image", "import", str(images), MINI], env=environment, capture_output=True, check=True)


def containers(root: Path) -> list[str]:
    """Names of the containers, running or not, of jobs whose directories are below a folder: others may have theirs."""
    made = {container_name(str(path)) for path in root.rglob("out")}
    assert made, f"no job was begun in {root}"
    command = ["podman", "ps", "-a", "--format", "{{.Names}}", "--filter", "name=airflow-hybrid-"]
    return [
        name
        for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        if name in made
    ]
