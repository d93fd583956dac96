# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid data``: the files of a real run, and what is made of records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.cli.data import row, sum_lines
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.overviews.files import RunData, RunFile, path_of, published
from tests.unit.web.served import Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag(
    "made.cwl",
    dag_id="made",
    outdir={outdir!r},
    deployments=dict(near=dict(type="local", workdir={near!r})),
    bindings=[dict(step="/", target=dict(deployment="near"))],
)
"""
WORKFLOW = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {file: {type: File, inputBinding: {}}}
stdout: copy
outputs: {o: stdout}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(WORKFLOW)
    (home / "dags/made.py").write_text(DAG.format(outdir=str(home / "results"), near=str(home / "near")))
    with served(home) as web:
        yield web


def test_inputs_replicas_and_outputs_of_a_run(web: Served, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("1234567")
    conf = {"file": {"class": "File", "location": str(tmp_path / "given")}}
    run_id, state = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made", conf=conf)
    assert state == "success"
    code, out, _ = web.cli("hybrid", "data", run_id, "-o", "json")
    found = [(file["role"], file["site"], file["size"]) for file in json.loads(out)]
    assert code == 0 and ("output", "near", 7) in found and ("output", "local", 7) in found
    copies = json.loads(web.cli("hybrid", "data", run_id, "--role", "replica", "-o", "json")[1])
    assert [(file["site"], file["size"], file["source"]) for file in copies] == [
        ("near", 7, f"file://{tmp_path}/given")
    ]
    assert Path(copies[0]["path"]).read_text() == "1234567"
    gathered = [file for file in json.loads(out) if file["task_id"] == "outputs"]
    assert [(file["route"], file["source"].partition(":")[0]) for file in gathered] == [("copy", "hybrid")]
    table = web.cli("hybrid", "data", run_id)[1]
    assert "near: 2 files, 14 B; moved there: 7 B for steps\n" in table
    assert "local: 2 files, 14 B; moved there: 7 B as outputs, to the output folder\n" in table


def test_a_task_that_failed_after_its_inputs_were_moved_tells_what_was(web: Served, tmp_path: Path) -> None:
    (web.home / "dags/fails.cwl").write_text(WORKFLOW.replace("cat", "'false'"))
    dag = DAG.format(outdir=str(web.home / "failed"), near=str(web.home / "near"))
    (web.home / "dags/fails.py").write_text(dag.replace("made", "fails"))
    (tmp_path / "given").write_text("123456789")
    conf = {"file": {"class": "File", "location": str(tmp_path / "given")}}
    run_id, state = web.ask("run", file=str(web.home / "dags/fails.py"), dag_id="fails", conf=conf)
    assert state == "failed"
    copies = json.loads(web.cli("hybrid", "data", run_id, "--role", "replica", "-o", "json")[1])
    assert [(file["site"], file["size"], file["route"]) for file in copies] == [("near", 9, "copy")]
    assert "near: 1 file, 9 B; moved there: 9 B for steps\n" in web.cli("hybrid", "data", run_id)[1]


def file(site: str, path: str, size: int | None, route: str = "") -> RunFile:
    return RunFile("output", "t", site, path, size, "", route)


def moved(target: str, size: int) -> Transfer:
    return Transfer("cloud", target, "relay", 1, size, 1.0)


def test_sums_of_sites_say_what_was_moved_there_and_as_what() -> None:
    files = (file("hpc", "/a", 1000, "relay"), file("hpc", "/b", 500), file("near", "/c", None))
    data = RunData(files, (moved("hpc", 1000), moved("hpc", 200)), (moved("hpc", 30), moved("s3://results", 7)))
    assert list(sum_lines(data)) == [
        "hpc: 2 files, 1.5 kB; moved there: 1.2 kB for steps, 30 B as outputs, to the output folder",
        "near: 1 file, 0 B",
        "s3://results: 0 files, 0 B; moved there: 7 B as outputs, to the output folder",
    ]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("hybrid://hpc/login/w/a%20b", "/w/a b"), ("file:///a/b", "/a/b"), ("/a/b", "/a/b"),
        ("https://example.org/a/b", "/a/b"), ("s3://bucket/key", "/key"),
    ],
)  # fmt: skip
def test_paths_of_locations(uri: str, path: str) -> None:
    assert path_of(uri) == path


def test_values_that_somebody_changed_are_read_as_far_as_they_make_sense() -> None:
    value = {"a": {"class": "File", "location": 7}, "b": [{"class": "File", "path": "/x", "size": "7", "checksum": 1}]}
    assert list(published("step", value)) == [RunFile("output", "step", "local", "/x", None, "")]


def test_a_size_that_no_file_has_is_not_known() -> None:
    file = {"class": "File", "location": "file:///x", "size": 10**400}
    (found,) = published("align", file)
    assert (found.size, row(found)["size"]) == (None, "")
