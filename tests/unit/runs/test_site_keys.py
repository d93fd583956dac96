# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which deployments of several DAGs are the same one."""

from __future__ import annotations

from typing import Any

from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.runs.sites.now import key_of


def outline(**deployments: dict[str, Any]) -> DagOutline:
    return DagOutline("main.cwl", (), deployments)


def test_folders_of_this_machine_with_the_same_name_are_two_deployments() -> None:
    first = outline(hpc={"type": "local", "workdir": "/a"})
    second = outline(hpc={"type": "local", "workdir": "/b"})
    assert key_of(first, "hpc") != key_of(second, "hpc")
    assert key_of(first, "hpc") == key_of(outline(hpc={"type": "local", "workdir": "/a"}), "hpc")


def test_a_cluster_is_one_deployment_whatever_its_work_directories_are() -> None:
    login = {"type": "ssh", "config": {"nodes": [{"hostname": "login"}]}}
    first, second = outline(hpc={**login, "workdir": "/a"}), outline(hpc={**login, "workdir": "/b"})
    assert key_of(first, "hpc") == key_of(second, "hpc")
