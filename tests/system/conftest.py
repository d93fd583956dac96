# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The Airflow that system tests share, the DAGs in it, and its Connections to the test bed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import canaries
from tests.canaries import WORK
from tests.conftest import WATCH
from tests.needs import REQUIRED, unavailable
from tests.system import postgres
from tests.system.airflow_stack import AirflowStack
from tests.testbed.fixture import Testbed

ROOT = Path(__file__).parents[2]
DOCUMENTS = Path(__file__).parent / "documents"
# Jobs run with the system's own programs, as those at the sites do: equal results then mean equal programs.
SYSTEM_PATH = [Path("/usr/bin"), Path("/bin"), Path("/usr/local/bin")]


class Dags:
    """The DAGs folder of the session's Airflow: a copy of ``dags/``, to which tests add files.

    :ivar secrets: the file of its secrets backend: Connections as JSON, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder.parent / WORK
        self.secrets = folder.parent / "connections.json"
        self.secrets.write_text("{}")
        shutil.copytree(ROOT / "dags", folder)
        shutil.copytree(DOCUMENTS, folder / "documents")

    def add(self, name: str, hybrid: dict[str, Any], folder: str = "documents") -> str:
        """Add a DAG ``name`` from a hybrid file's content, which is written to ``folder`` beside its documents."""
        file = self.folder / folder / f"{name}.yml"
        file.write_text(yaml.safe_dump(hybrid))
        code = f"from airflow_hybrid import load_dags\n\nload_dags('{folder}/{name}.yml', globals())\n"
        # the DAG processor must not see half a file
        new = self.folder / f"{name}.new"
        new.write_text(code)
        new.rename(self.folder / f"{name}.py")
        return name

    def add_like(self, example: str, name: str, *, dag: dict[str, Any] | None = None, **deployments: Any) -> str:
        """Add a DAG ``name`` like an example's (``hello/streamflow.yml``): other DAG options, other deployments.

        Local deployments keep their jobs in the session's temporary folder.
        """
        hybrid = yaml.safe_load((self.folder / example).read_text())
        ((_, workflow),) = hybrid["workflows"].items()
        workflow["dag"] = {**workflow.get("dag", {}), **(dag or {})}
        hybrid["workflows"] = {name: workflow}
        for key, value in hybrid["deployments"].items():
            if value["type"] == "local":
                value["workdir"] = str(self.work / key)
            value.update(deployments.get(key, {}))
        return self.add(name, hybrid, os.path.dirname(example))


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Dags:
    stack = tmp_path_factory.mktemp("stack")
    made = Dags(stack / "dags")
    WATCH.plant_here([*canaries.around(str(made.work), str(stack)), *canaries.anywhere(str(made.folder))])
    return made


QUIET = {
    # a file that has changed is parsed at once; the others, by the end some sixty, would take half a core all the time
    "dag_processor.min_file_process_interval": "1800",
    "scheduler.scheduler_idle_sleep_time": "0.25",
}
"""settings of an Airflow that stands by while others are tested"""


@pytest.fixture(scope="session")
def airflow(dags: Dags) -> Iterator[AirflowStack]:
    """A running Airflow over :func:`dags`: PostgreSQL where there is one, else SQLite."""
    if postgres.programs() is None and REQUIRED:
        unavailable("the Airflow of the system tests", "PostgreSQL", "apt-get install postgresql")
    backend = {
        "secrets.backend": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "secrets.backend_kwargs": json.dumps({"connections_file_path": str(dags.secrets)}),
    }
    with tempfile.TemporaryDirectory(prefix="ahl") as logins:  # the path of a socket must be short
        settings = {"airflow_hybrid.login_dir": logins, **backend, **QUIET}
        stack = AirflowStack(dags.folder.parent / "airflow", dags.folder, path=SYSTEM_PATH, settings=settings)
        yield from _running(stack)


def _running(stack: AirflowStack) -> Iterator[AirflowStack]:
    with stack:
        WATCH.plant_here(canaries.anywhere(str(stack.home)))
        yield stack
    left = stack.leftovers()
    assert not left, f"processes left by Airflow: {left}"


@pytest.fixture(scope="session")
def connections(airflow: AirflowStack, testbed: Testbed) -> dict[str, str]:
    """Airflow Connections to the sites; site -> ``conn_id``."""
    made = {}
    for site in testbed.sites.values():
        extra = {"key_file": str(site.key), "host_key": site.host_key}
        airflow.api.add_connection(
            f"site_{site.name}", "ssh", host=site.host, login=site.user, port=site.port, extra=extra
        )
        made[site.name] = f"site_{site.name}"
    return made


@pytest.fixture(scope="session")
def deployments(connections: dict[str, str]) -> dict[str, Any]:
    """The ``deployments`` of a hybrid file for the test bed: ``hpc`` (Slurm over ``login``), ``cloud``, ``edge``."""

    def ssh(site: str, workdir: str) -> dict[str, Any]:
        return {"type": "ssh", "config": {"conn_id": connections[site]}, "workdir": workdir}

    slurm = {
        "type": "slurm",
        "wraps": "login",
        "config": {"services": {"main": {"partition": "main", "account": "proj"}}},
    }
    return {
        "login": ssh("hpc", f"/scratch/{WORK}"),
        "hpc": slurm,
        "cloud": ssh("cloud", f"/home/clouduser/{WORK}"),
        "edge": ssh("edge", f"/home/edgeuser/{WORK}"),
    }


@pytest.fixture(scope="session")
def job_path() -> str:
    """The ``PATH`` that local jobs see, for a run of the same workflow by other means."""
    return os.pathsep.join(map(str, SYSTEM_PATH))
