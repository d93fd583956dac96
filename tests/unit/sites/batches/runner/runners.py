# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Unpacks batches and runs their runners in the shells of this machine."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import directory as job_directory
from airflow_hybrid.sites.batches.archive import archive
from airflow_hybrid.sites.batches.directory import Batch
from tests.unit.sites.shell_hosts import sh

PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ah_clean": "1"}
"""a runner whose environment is not clean begins again in /bin/sh"""


def run(shell: str, made: Batch, *, environment: dict[str, str] | None = None, **more: object) -> Path:
    """Unpack the batch and run its runner in the foreground."""
    folder = unpacked(made, ProcessScheduler() if environment is None else SlurmScheduler(), **more)
    again(shell, folder, environment)
    return folder


def unpacked(made: Batch, scheduler: Scheduler, **more: object) -> Path:
    """The batch directory as a submit leaves it."""
    sub = job_directory.submission(made, host_cores=2, **more)
    data = archive(made, scheduler, sub)
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    folder = Path(made.directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(f"{MARKER_LINE}\n")
    subprocess.run(["tar", "-xof", "-"], cwd=folder, input=data, check=True)
    for name in ("c", "ec", "f", *(f"{key}/{sub}" for key in made.keys for sub in ("out", "tmp"))):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def again(shell: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    argv = [sh(shell)]
    env = {**PLAIN, **(environment or {})}
    subprocess.run([*argv, str(folder / "runner.sh")], stdin=subprocess.DEVNULL, env=env, check=True)


def codes(folder: Path) -> dict[int, str]:
    return {int(p.name): p.read_text().split(" ")[0].strip() for p in (folder / "ec").iterdir()}


ELEMENT = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "24"}


def noticed(ended: Path) -> tuple[str, list[str]]:
    """The exit code of a file of ``ec``, and what was noticed beside times, use and the name of the node."""
    code, _, *words = ended.read_text().split()
    return code, [word for word in words if not word.startswith(("node=", "at=", "cpu=", "mem="))]
