# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One DAG whose steps run in every kind of place, each with what the last one made."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from tests.containers.conftest import images  # noqa: F401 - a fixture
from tests.fakes.jobstore import install
from tests.system.cwl import cwltool, essence
from tests.system.dag_runs import run_dags
from tests.system.kube import Kube
from tests.testbed.fixture import Testbed

DOCUMENT = Path(__file__).parents[1] / "documents" / "everywhere.cwl"
DEBIAN = "docker.io/library/debian:stable-slim"
SITES = ("here", "ssh", "slurm", "sge", "pbs", "kube", "box", "boxes")


def ssh(testbed: Testbed, name: str) -> dict[str, Any]:
    site = testbed.sites[name]
    node = {"hostname": site.host, "username": site.user, "sshKey": str(site.key)}
    return {"type": "ssh", "config": {"nodes": [node], "known_hosts": [str(testbed.known_hosts)]}}


def test_data_goes_from_each_kind_of_place_to_the_next(
    grid: Testbed,
    kube: Kube,
    images: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    install(tmp_path / "pbs", "pbs.py", "qsub", "qstat", "qdel")
    (tmp_path / "image").mkdir()
    unpack = ["tar", "-xf", str(images), "-C", str(tmp_path / "image")]
    subprocess.run(unpack, check=True)
    for name in ("ch/environment", "etc/passwd", "etc/group"):
        (tmp_path / "image" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "image" / name).touch()
    box = f"box{secrets.token_hex(3)}"  # others on this machine have containers of their own
    deployments: dict[str, dict[str, Any]] = {
        "here": {"type": "local", "workdir": str(tmp_path / "here")},
        "ssh": ssh(grid, "cloud"),
        "login": ssh(grid, "hpc"),
        "slurm": {"type": "slurm", "wraps": "login", "config": {"services": {"main": {"partition": "main"}}}},
        "frontend": ssh(grid, "grid"),
        "sge": {"type": "sge", "wraps": "frontend", "config": {"services": {"main": {"queue": "all.q"}}}},
        "pbs": {"type": "pbs", "workdir": str(tmp_path / "pbs work")},
        "kube": {"type": "kubernetes", "config": kube.config()},
        box: {"type": "podman", "config": {"image": DEBIAN}},
        "boxes": {"type": "charliecloud", "wraps": "pbs", "config": {"image": str(tmp_path / "image")}},
    }
    for deployment in deployments.values():
        deployment["deferrable"] = False  # DAG.test() runs no triggers that end their tasks
    services = {"slurm": {"service": "main"}, "sge": {"service": "main"}, "kube": {"service": "small"}}
    bindings = {
        f"/{name}": {"target": {"deployment": box if name == "box" else name, **services.get(name, {})}}
        for name in SITES
    }
    run = {
        "document": str(DOCUMENT),
        "options": {"deployments": deployments, "bindings": bindings},
        "conf": {"word": "whale"},
    }
    path = f"/usr/bin:/bin:{os.environ['PATH']}"  # charliecloud is a program of the system's own Python
    (result,) = run_dags(tmp_path / "airflow", [run], PATH=f"{tmp_path}/pbs/bin:{path}")
    assert result["state"] == "success", result["log"][-5000:]
    assert set(result["tasks"].values()) == {"success"}
    assert {f"deploy_{box}", f"undeploy_{box}"} < set(result["tasks"])
    expected = cwltool(DOCUMENT, {"word": "whale"}, tmp_path / "cwltool", os.environ["PATH"])
    assert essence(result["outputs"]) == essence(expected)
    listed = ["podman", "ps", "-aq", "--filter", f"label=airflow-hybrid/deployment={box}"]
    assert subprocess.run(listed, capture_output=True, text=True, check=True).stdout == ""
