# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A file that the worker of another machine made, and this machine does not see, is told as that."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.remote_values import list_folder, read_start
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.gather.copies import copy_file
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover, StageRequest
from airflow_hybrid.sites.hosts.other_machines import TIE
from tests.raising import raising

HINT = f"if Airflow's tasks run on several machines, {TIE}. Then clear that task to run it again"
TASK = "d/r/count/3/g0-0123456789"


def told(source: str) -> str:
    machine = f"this machine ({socket.gethostname()})"
    return (
        f"{source} is not on {machine}, nor is anything else of task count[3] of run r of DAG d, which made it: that"
        f" task ran on another machine, or its folder was removed\n  -> {HINT}"
    )


@pytest.fixture
def deployments(tmp_path: Path) -> dict[str, Deployment]:
    return {name: Deployment(name, "local", workdir=str(tmp_path / name)) for name in ("one", "two")}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of a job of this machine."""
    file = tmp_path / "one" / TASK / "a1-abc" / "0" / "out" / "table.txt"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    return file


async def stage(deployments: dict[str, Deployment], output: Path, name: str) -> None:
    value = {"class": "File", "location": FileRef("one", "localhost", str(output)).uri, "size": 1}
    (host,) = await open_connector(deployments, name).hosts()
    request = StageRequest.of(value, host, str(Path(deployments[name].workdir or "", "copy")))
    await DataMover(Locations(deployments)).stage([request])


@pytest.mark.parametrize("name", ["one", "two"])
async def test_an_input_that_another_machine_has_is_told_as_that(
    deployments: dict[str, Deployment], output: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir(exist_ok=True)
    await stage(deployments, output, name)
    (tmp_path / name / "copy").unlink()
    shutil.rmtree(tmp_path / "one")
    (tmp_path / name).mkdir(exist_ok=True)
    with raising(TransferError, told(FileRef("one", "localhost", str(output)).uri)):
        await stage(deployments, output, name)


async def test_an_input_that_was_removed_here_is_not_said_to_be_elsewhere(
    deployments: dict[str, Deployment], output: Path, tmp_path: Path
) -> None:
    output.unlink()
    (tmp_path / "two").mkdir()
    uri = FileRef("one", "localhost", str(output)).uri
    message = (
        f"one (localhost): {uri} no longer exists\n"
        "  -> it was made by task count[3] of run r of DAG d: clear that task to make it again"
    )
    with raising(TransferError, message):
        await stage(deployments, output, "two")


async def test_expressions_tell_it_too(deployments: dict[str, Deployment], output: Path, tmp_path: Path) -> None:
    file, folder = (FileRef("one", "localhost", str(path)).uri for path in (output, output.parent))
    assert await read_start(file, deployments) == b"x"
    assert await list_folder(folder, deployments) == [("table.txt", False)]
    shutil.rmtree(tmp_path / "one")
    with raising(TransferError, told(file)):
        await read_start(file, deployments)
    with raising(TransferError, told(folder)):
        await list_folder(folder, deployments)


def test_gathering_outputs_tells_it_too(output: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "one")
    with raising(TransferError, told(str(output))):
        copy_file(FileRef("local", "localhost", str(output)), f"{tmp_path}/copy", f"file://{tmp_path}/copy", None)
