# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers where steps are bound: by SSH, and in the jobs of a Slurm cluster; rootless podman of an ordinary user."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import JobFailedError
from airflow_hybrid.model import Target
from tests.conftest import unavailable
from tests.containers.conftest import MINI
from tests.containers.engine import Bench, text_of
from tests.containers.test_boxes import LINKS, LOOK, script
from tests.testbed.fixture import Testbed


@pytest.fixture(scope="module")
def deployments(testbed: Testbed, images: Path) -> dict[str, Any]:
    """Sites whose users may have containers, and an image there."""
    described = json.loads(Path(testbed.variables()["TESTBED_JSON"]).read_text())
    ssh = ["ssh", "-F", described["ssh_config"]]
    archive = subprocess.run(["podman", "save", "-q", MINI], capture_output=True, check=True).stdout
    found: dict[str, Any] = {}
    for name in ("cloud", "hpc"):
        site = described["sites"][name]
        ranges = f"grep -q ^{site['user']}: /etc/subuid || echo {site['user']}:200000:65536"
        testbed.exec(name, "sh", "-c", f"{ranges} >>/etc/subuid; cp /etc/subuid /etc/subgid")
        loaded = subprocess.run([*ssh, name, "podman load"], input=archive, capture_output=True, check=False)
        if loaded.returncode != 0:
            unavailable(
                "podman at a site", f"rootless podman ({loaded.stderr.decode()[-300:]})", "apt-get install uidmap"
            )
        config = {
            "nodes": [{"hostname": site["host"]}],
            "username": site["user"],
            "sshKey": site["key"],
            "known_hosts": [described["known_hosts"]],
        }
        found[name] = {"type": "ssh", "config": config, "containers": "podman"}
    found["cluster"] = {"type": "slurm", "wraps": "hpc", "config": {"services": {"main": {"partition": "main"}}}}
    return dict(parse_deployments(found))


@pytest.mark.parametrize("target", [Target("cloud"), Target("cluster", "main")], ids=["ssh", "slurm"])
def test_a_step_runs_in_a_container_where_it_is_bound(
    deployments: dict[str, Any], target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    bench = Bench(tmp_path, deployments, target, run_id=tmp_path.name)
    said = text_of(bench.run(script(LOOK))["said"])
    assert "folder /var/spool/cwl\n" in said
    assert "the root is read-only\n" in said
    assert "user 0:" not in said
    (tmp_path / "in.txt").write_text("in\n")
    result = bench.run(LINKS, {"file": {"class": "File", "path": str(tmp_path / "in.txt")}})
    assert {name: text_of(file) for name, file in result.items()} == {"linked": "in\n", "inner": "x\n", "same": "in\n"}
    with pytest.raises(JobFailedError, match="exit code 41"):
        bench.run(script("exit 41"))
