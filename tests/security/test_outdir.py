# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a run's conf may send the outputs: their names and texts are a document's, and must not become programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import Port, WorkflowGraph
from airflow_hybrid.operators.inputs import check_outdir

GRAPH = WorkflowGraph(name="w", path="/", inputs=(), outputs=(), steps=())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Airflow's."""
    for name in ("AIRFLOW_CONFIG", "AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__LOGGING__BASE_LOG_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "airflow" / "dags").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "airflow" / "dags")
    return tmp_path / "airflow"


REFUSED = {
    "{home}/dags": "it is in the DAGs folder",
    "{home}/dags/x": "it is in the DAGs folder",
    "file://{home}/dags/x": "it is in the DAGs folder",
    "{home}/../link/x": "it is in the DAGs folder",
    "{home}": "it is a folder of Airflow itself",
    "{home}/logs": "it is a folder of Airflow itself",
    "{home}/plugins/x": "it is a folder of Airflow itself",
    "{home}/hybrid_outputs/../plugins": "it is a folder of Airflow itself",
    "{home}/..": "files of Airflow itself are in it",
    "{home}/../user": "it is the folder of everybody's files or a home directory",
    "/": "it is the folder of everybody's files or a home directory",
    "{home}/../user/.ssh": "it is hidden, or in a hidden folder",
    "/etc/cron.d": "it is a folder of the system or of programs",
}


@pytest.mark.parametrize("outdir", REFUSED)
def test_where_outputs_may_not_go(home: Path, outdir: str) -> None:
    with pytest.raises(InputError) as caught:
        check_outdir(GRAPH, {"outdir": outdir.format(home=home)})
    assert str(caught.value) == (
        f"conf key 'outdir': the outputs may not go to {outdir.format(home=home)}: {REFUSED[outdir]}"
        "\n  -> name another folder; or let the DAG send them there: HybridDag(outdir=...), `dag: {outdir: ...}`"
    )


def test_not_to_the_interpreter_s_modules(home: Path) -> None:
    with pytest.raises(InputError):
        check_outdir(GRAPH, {"outdir": os.path.join(sys.prefix, "lib")})


@pytest.mark.parametrize(
    "outdir", ["{home}/hybrid_outputs/x", "{home}/../results", "{home}/../user/results", "s3://b/k"]
)
def test_where_they_may_go(home: Path, outdir: str) -> None:
    check_outdir(GRAPH, {"outdir": outdir.format(home=home)})


def test_an_input_of_that_name_is_an_input(home: Path) -> None:
    graph = WorkflowGraph(name="w", path="/", inputs=(Port("outdir", "string"),), outputs=(), steps=())
    check_outdir(graph, {"outdir": "/etc"})
