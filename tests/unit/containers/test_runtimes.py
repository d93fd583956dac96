# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What each runtime is told, as tables."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.containers import RUNTIMES, ImagePaths, detect
from airflow_hybrid.errors import UnsupportedError
from airflow_hybrid.model.containers import Container, ImageSource, Mount, ReadyImage
from airflow_hybrid.sites.containers.images import obtain_command

MOUNTS = (
    Mount("/w/j/out", "/var/spool/cwl", True),
    Mount("/w/j/tmp", "/tmp", True),
    Mount('/d/a,b "c".txt', "/var/lib/cwl/1/x.txt"),
)
ENVIRONMENT = {"HOME": "/var/spool/cwl", "TMPDIR": "/tmp", "WORD": "a,b\n$c"}
OCI = [
    "--workdir=/var/spool/cwl",
    "--mount=type=bind,source=/w/j/out,target=/var/spool/cwl",
    "--mount=type=bind,source=/w/j/tmp,target=/tmp",
    '--mount=type=bind,"source=/d/a,b ""c"".txt",target=/var/lib/cwl/1/x.txt,readonly',
    "--env=HOME=/var/spool/cwl",
    "--env=TMPDIR=/tmp",
    "--env=WORD=a,b\n$c",
]
SIF = "/w/images/0.sif"
SIF_MOUNTS = [
    "--home", "/w/j/out:/var/spool/cwl",
    "--mount", "type=bind,source=/w/j/tmp,target=/tmp",
    "--mount", 'type=bind,"source=/d/a,b ""c"".txt",target=/var/lib/cwl/1/x.txt,readonly',
    "--pwd", "/var/spool/cwl",
]  # fmt: skip
TOOL = ["echo", "hi there"]
RUN = ["run", "-i", "--rm", "--name=box", "--pull=never", "--log-driver=none", "--read-only"]
KEPT = [word for word in RUN if word != "--rm"]


def argv(runtime: str, reference: str = "img:1", image: dict[str, Any] | None = None, **more: Any) -> list[str]:
    ready = ReadyImage(runtime, reference, "7:8", **(image or {}))
    container = Container(ready, MOUNTS, "/var/spool/cwl", **more)
    return RUNTIMES[runtime].argv(container, "box", ENVIRONMENT, ["echo", "hi there"])


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (argv("docker"), ["docker", *KEPT, "--user=7:8", *OCI, "--network=none", "--", "img:1", "echo", "hi there"]),
        (
            argv("docker", image={"rootless": True, "options": ("--init",)}, network=True, gpus=2, shm_size="1g"),
            [
                "docker",
                *KEPT,
                "--user=0:0",
                *OCI,
                "--gpus=2",
                "--shm-size=1g",
                "--init",
                "--",
                "img:1",
                "echo",
                "hi there",
            ],
        ),
        (argv("podman"), ["podman", *RUN, "--user=7:8", *OCI, "--network=none", "--", "img:1", "echo", "hi there"]),
        (
            argv("podman", image={"rootless": True}, network=True, launcher=("mpirun", "-n", "4")),
            [
                "mpirun",
                "-n",
                "4",
                "podman",
                *RUN[:3],
                *RUN[4:],
                "--userns=keep-id",
                "--user=7:8",
                *OCI,
                "--",
                "img:1",
                "echo",
                "hi there",
            ],
        ),
        (
            argv("apptainer", SIF, {"version": (1, 3, 4)}),
            [
                "env",
                "APPTAINERENV_TMPDIR=/tmp",
                "APPTAINERENV_WORD=a,b\n$c",
                "apptainer",
                "--quiet",
                "run",
                "--contain",
                "--ipc",
                "--pid",
                "--cleanenv",
                "--no-eval",
                *SIF_MOUNTS,
                "--net",
                "--network",
                "none",
                "--",
                SIF,
                "echo",
                "hi there",
            ],
        ),
        (
            argv("singularity", SIF, {"version": (3, 9)}, network=True, gpus=1),
            [
                "env",
                "SINGULARITYENV_TMPDIR=/tmp",
                "SINGULARITYENV_WORD=a,b\n$c",
                "singularity",
                "--quiet",
                "exec",
                "--contain",
                "--ipc",
                "--pid",
                "--cleanenv",
                *SIF_MOUNTS,
                "--nv",
                "--",
                SIF,
                "echo",
                "hi there",
            ],
        ),
    ],
)
def test_how_a_container_is_started(made: list[str], expected: list[str]) -> None:
    assert made == expected


@pytest.mark.parametrize(
    ("runtime", "requirement", "reference", "obtained"),
    [
        ("docker", {"dockerPull": "debian:12"}, "debian:12", "docker pull -- debian:12"),
        (
            "podman",
            {"dockerPull": "debian:12", "dockerImageId": "mine:1"},
            "mine:1",
            "podman pull -- debian:12 && podman tag -- debian:12 mine:1",
        ),
        ("podman", {"dockerImageId": "mine:1"}, "mine:1", "not say where to get it"),
        ("docker", {"dockerLoad": "x", "dockerImageId": "mine:1"}, "mine:1", "docker load -i /a/x.tar"),
        ("docker", {"dockerImport": "x", "dockerImageId": "mine:1"}, "mine:1", "docker import -- /a/x.tar mine:1"),
        (
            "podman",
            {"dockerFile": "FROM it's"},
            "localhost/airflow_hybrid:",
            "printf %s 'FROM it'\"'\"'s' | podman build",
        ),
        ("apptainer", {"dockerPull": "debian:12"}, "/w/images/", ".sif.new docker://debian:12 && ah_rm /w/images "),
        ("apptainer", {"dockerPull": "oras://x/y"}, "/w/images/", " oras://x/y "),
        ("singularity", {"dockerLoad": "x"}, "/w/images/", "docker-archive:/a/x.tar"),
        ("apptainer", {"dockerImageId": "/apps/x.sif"}, "/apps/x.sif", "there is no such file"),
        ("charliecloud", {"dockerPull": "debian:12"}, "/w/images/", "ch-image pull debian:12"),
    ],
)
def test_how_an_image_is_had(runtime: str, requirement: dict[str, str], reference: str, obtained: str) -> None:
    source, places = ImageSource.of(requirement, True), ImagePaths("/w/images", "/a/x.tar")
    assert RUNTIMES[runtime].reference(source, places).startswith(reference)
    assert obtained in RUNTIMES[runtime].obtain(source, places)


@pytest.mark.parametrize(
    ("runtime", "requirement", "message"),
    [
        ("apptainer", {"dockerFile": "FROM x"}, "apptainer cannot run an image from a dockerFile"),
        ("apptainer", {"dockerImport": "x"}, "from dockerImport"),
        ("charliecloud", {"dockerLoad": "x"}, "from dockerLoad"),
    ],
)
def test_what_a_runtime_cannot_make_is_said(runtime: str, requirement: dict[str, str], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        RUNTIMES[runtime].reference(ImageSource.of(requirement, True), ImagePaths("/w/images"))


# --- what is there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({}, (None, (), False)),
        ({"docker": "case $1 in info) echo '24.0.5 [name=seccomp]' ;; esac"}, ("docker", (24, 0, 5), False)),
        (
            {"docker": "case $1 in info) echo '24.0.5 [name=seccomp name=rootless]' ;; esac"},
            ("docker", (24, 0, 5), True),
        ),
        ({"docker": "echo 'Cannot connect to the Docker daemon' >&2; exit 1"}, (None, (), False)),
        (
            {"docker": "echo podman version 4.3.1", "podman": "echo 4.3.1 true"},
            ("podman", (4, 3, 1), True),
        ),
        ({"docker": "exit 1", "podman": "echo 5.2.0 false"}, ("podman", (5, 2, 0), False)),
        ({"apptainer": "echo apptainer version 1.3.4-1.el9"}, ("apptainer", (1, 3, 4), False)),
        ({"singularity": "echo singularity-ce version 4.1.0"}, ("singularity", (4, 1, 0), False)),
        ({"ch-run": "echo 0.31", "ch-image": "true", "unshare": "true"}, ("charliecloud", (0, 31), False)),
        # it could not take the network away
        ({"ch-run": "echo 0.31", "ch-image": "true", "unshare": "exit 1"}, (None, (), False)),
    ],
)
def test_the_first_usable_runtime_is_taken(
    tmp_path: Path, programs: dict[str, str], found: tuple[str | None, tuple[int, ...], bool]
) -> None:
    for name in ("id", "sed", "grep", "tail", "tr", "sh", "timeout"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    command = detect.command(RUNTIMES.values())
    said = subprocess.run(["/bin/sh", "-c", command], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    answer = detect.parse(said.stdout)
    assert (answer.runtime, answer.version, answer.rootless) == found
    assert answer.user == f"{os.getuid()}:{os.getgid()}"
    if "docker" in programs and answer.runtime is None:
        assert "Cannot connect to the Docker daemon" in dict(answer.unusable)["docker"]


def test_an_answer_that_was_cut_off_is_no_answer() -> None:
    with pytest.raises(ValueError, match="cut off"):
        detect.parse("#user 0:0\n#no docker is not on the PATH\n")


# --- once per site --------------------------------------------------------------------------------------------------


def test_an_image_is_obtained_by_one_and_saved_for_the_nodes(tmp_path: Path) -> None:
    """Several ask at once: one pulls; the archive for the nodes is made once; a failed pull leaves nothing."""
    (tmp_path / "podman").write_text(
        "#!/bin/sh\ncd ${0%/*}\ncase $1 in\nimage) [ -e there ] ;;\npull) echo pull >>calls; sleep 0.2; : >there ;;\n"
        'save) echo save >>calls; echo layers >"$3" ;;\nesac\n'
    )
    (tmp_path / "podman").chmod(0o755)
    source, places = ImageSource(pull="x:1"), ImagePaths(str(tmp_path / "images"))
    archive = f"{places.folder}/x.tar"
    text = obtain_command(RUNTIMES["podman"], source, places, "x:1", archive)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    running = [subprocess.Popen(["sh", "-c", text], env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    said = sorted(process.communicate()[0].decode().strip() for process in running)
    assert said == ["#ah obtained", "#ah present", "#ah present"]
    assert (tmp_path / "calls").read_text() == "pull\nsave\n"
    assert Path(archive).read_text() == "layers\n"


def test_a_failed_pull_says_why(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\ncase $1 in pull) echo 'manifest unknown' >&2 ;; esac\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    text = obtain_command(RUNTIMES["docker"], ImageSource(pull="x:1"), ImagePaths(str(tmp_path / "images")), "x:1")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True).stdout
    assert said == "#ah failed\nmanifest unknown\n"
