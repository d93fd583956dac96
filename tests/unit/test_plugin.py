# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow's components load once, before they fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOMS = ("cwl.fragments", "cwl.given", "cwl.javascript", "cwl.jobs", "cwl.locations", "cwl.values", "dag", "engine",
         "model", "operators", "placement", "removal", "sites.batches", "sites.containers", "sites.files",
         "sites.hosts", "sites.reuse")  # fmt: skip
"""whose modules tasks use, whatever they run and wherever"""
SELDOM_USED = {
    "airflow_hybrid.engine.checkpoints.expiry",  # by `airflow hybrid cleanup`
    "airflow_hybrid.engine.checkpoints.putting_back",  # when files are lost
    "airflow_hybrid.engine.stopping",  # when a task is stopped
    "airflow_hybrid.cwl.fragments.step_needs",  # by the DAG processor, which has a cache of what it says
    "airflow_hybrid.operators.published.record_file",  # for runs that leave a record of themselves
    "airflow_hybrid.operators.published.recorded",
    "airflow_hybrid.operators.published.report_files",
    "airflow_hybrid.operators.published.watched",  # for DAGs that a file starts, by the DAG processor
    "airflow_hybrid.sites.containers.compose",  # for compose files
    "airflow_hybrid.sites.files.pieces",  # by commands and pages that read what jobs have written
    "airflow_hybrid.sites.hosts.dialogue",  # for Kubernetes
    "airflow_hybrid.sites.hosts.ssh.keeper",  # by the process that keeps a login
    "airflow_hybrid.sites.hosts.ssh.relay",
}
PRINT_NOT_LOADED = """
import pkgutil, sys
from airflow_hybrid.plugin import PreloadListener
class Job: pass
sys.argv = ["airflow", "scheduler"]
PreloadListener.on_starting(Job())
import airflow_hybrid
for module in pkgutil.walk_packages(airflow_hybrid.__path__, "airflow_hybrid."):
    if module.name not in sys.modules:
        print("not loaded:", module.name)
"""


def test_what_every_task_uses_is_loaded_before_tasks_are_forked(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_NOT_LOADED], env=environment, check=True, capture_output=True, text=True
    )
    start = "not loaded: "
    absent = {line.removeprefix(start) for line in done.stdout.splitlines() if line.startswith(start)}
    used = {name for name in absent for room in ROOMS if f"{name}.".startswith(f"airflow_hybrid.{room}.")}
    assert "airflow_hybrid.cli.commands" in absent
    assert used == SELDOM_USED
