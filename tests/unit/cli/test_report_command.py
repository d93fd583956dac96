# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid report`` over a real run."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.web.served import Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag("made.cwl", dag_id="made", outdir={outdir!r}, report=True)
"""
STORED = """\
import fsspec
from airflow.sdk.io import fs
from airflow_hybrid import HybridDag

# fsspec's store in memory: tasks run in the process that has the web application
fs._register_filesystems = lambda: {"memory": lambda conn_id, options: fsspec.filesystem("memory")}
stored = HybridDag(
    "stored.cwl", dag_id="stored", outdir="memory://bucket/results", report=["pdf", "json", "png"],
    bindings=[{"step": "/fused", "target": "local", "fuse": True}],
)
"""
MANY_KINDS = """\
cwlVersion: v1.2
class: Workflow
$namespaces: {cwltool: "http://commonwl.org/cwltool#"}
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  InlineJavascriptRequirement: {}
  StepInputExpressionRequirement: {}
inputs: {words: "string[]"}
outputs: {o: {type: "File[]", outputSource: mapped/o}}
steps:
  mapped: {in: {word: words}, scatter: word, out: [o], run: echo.cwl}
  each: {in: {word: words, all: words}, scatter: word, out: [], run: both.cwl}
  fused: {in: {word: words, all: words}, scatter: word, out: [], run: both.cwl}
  looped:
    in: {word: {default: a}}
    out: [o]
    run: echo.cwl
    requirements:
      cwltool:Loop:
        loopWhen: $(inputs.word.length < 3)
        loop: {word: {valueFrom: $(inputs.word + "a")}}
        outputMethod: last
"""
BOTH = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {word: string, all: "string[]"}
outputs: []
steps:
  inner: {in: {word: all}, scatter: word, out: [o], run: echo.cwl}
"""
ECHO = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: {word: {type: string, inputBinding: {}}}
stdout: o
outputs: {o: stdout}
"""
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {words: "string[]"}
outputs: {o: {type: "File[]", outputSource: say/o}}
steps:
  say:
    in: {word: words}
    scatter: word
    out: [o]
    run:
      class: CommandLineTool
      baseCommand: echo
      inputs: {word: {type: string, inputBinding: {}}}
      stdout: o
      outputs: {o: stdout}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(WORKFLOW)
    for name, text in (("stored", MANY_KINDS), ("both", BOTH), ("echo", ECHO)):
        (home / f"dags/{name}.cwl").write_text(text)
    (home / "dags/stored.py").write_text(STORED)
    (home / "dags/made.py").write_text(DAG.format(outdir=str(home / "results")))
    with served(home) as web:
        yield web


@pytest.fixture(scope="module")
def run_id(web: Served) -> str:
    conf = {"words": ["a", "b", "c"]}
    run_id, state = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made", conf=conf)
    assert state == "success"
    return str(run_id)


@pytest.fixture(scope="module")
def stored_run(web: Served) -> str:
    """A run with mapped, fused and looped steps, whose outputs are in an object store."""
    file = str(web.home / "dags/stored.py")
    run_id, state = web.ask("run", file=file, dag_id="stored", conf={"words": ["a", "b"]})
    assert state == "success"
    return str(run_id)


def test_a_report_in_each_format(web: Served, run_id: str, tmp_path: Path) -> None:
    for name in ("run.html", "run.svg", "run.csv", "run.json", "run.pdf", "run.png"):
        assert web.cli("hybrid", "report", run_id, "-o", str(tmp_path / name))[:2] == (0, f"{tmp_path / name}\n")
    page = (tmp_path / "run.html").read_text()
    assert "<td>/say[2]</td>" in page and "3, of which 0 failed" in page
    assert "/say: 3 succeeded, 0 failed" in (tmp_path / "run.svg").read_text()
    with (tmp_path / "run.csv").open() as stream:
        assert [row["index"] for row in csv.DictReader(stream)] == ["[0]", "[1]", "[2]"]
    assert (tmp_path / "run.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    value = json.loads((tmp_path / "run.json").read_text())
    assert (value["state"], len(value["outputs"]), value["footprint"]["jobs"]) == ("success", 3, 3)


def test_a_format_that_is_not_there(web: Served, run_id: str) -> None:
    code, _, lines = web.cli("hybrid", "report", run_id, "-o", "run.doc")
    assert (code, lines[-1]) == (1, "run.doc: the ending says what is written: .html, .pdf, .png, .svg, .csv, .json")


def test_constants_are_checked_and_told(web: Served, run_id: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert web.cli("hybrid", "report", run_id, "-o", str(path), "--pue", "1.1")[0] == 0
    constants = json.loads(path.read_text())["footprint"]["constants"]
    assert constants["pue"] == {"value": 1.1, "source": "option --pue"}
    assert constants["core_watts"] == {"value": 12.0, "source": "default, as in Green Algorithms"}
    code, _, lines = web.cli("hybrid", "report", run_id, "--pue", "0.5")
    assert code == 2
    problem = "argument --pue: '0.5' must be a number from 1 to 10"
    assert lines[1] == f"airflow hybrid report command error: {problem}, see help above."


def test_the_last_task_writes_the_report_beside_the_outputs(web: Served, run_id: str) -> None:
    (folder,) = (web.home / "results").iterdir()
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"o", "o_2", "o_3", "run-report.csv", "run-report.html", "run-report.json"}
    value = json.loads((folder / "run-report.json").read_text())
    assert (value["run_id"], value["state"], value["by_last_task"], value["ended"]) == (run_id, "running", True, None)
    assert value["began"] < value["made_at"]
    assert [output["path"] for output in value["outputs"]] == [str(folder / name) for name in ("o", "o_2", "o_3")]
    (step,) = value["steps"]
    assert (step["path"], step["state"], step["total"], step["succeeded"]) == ("/say", "success", 3, 3)
    assert (len(value["jobs"]), value["footprint"]["jobs"], value["problems"]) == (3, 3, [])
    page = (folder / "run-report.html").read_text()
    state = (
        "running: the run&#x27;s last task has made this report, when the outputs were in place; how the run ended is"
    )
    assert f"<dt>state</dt><dd>{state} not in it</dd>" in page
    assert " until then</dd>" in page and "<td>/say[2]</td>" in page
    with (folder / "run-report.csv").open() as stream:
        assert [row["index"] for row in csv.DictReader(stream)] == ["[0]", "[1]", "[2]"]


def test_later_the_command_knows_the_end(web: Served, run_id: str, tmp_path: Path) -> None:
    assert web.cli("hybrid", "report", run_id, "-o", str(tmp_path / "run.json"))[0] == 0
    value = json.loads((tmp_path / "run.json").read_text())
    assert (value["state"], value["by_last_task"]) == ("success", False)
    assert value["began"] < value["ended"] < value["made_at"]


def test_the_last_task_writes_the_formats_asked_for_into_an_object_store(web: Served, stored_run: str) -> None:
    objects = web.stored(f"/bucket/results/{stored_run}")
    names = {name for name in objects if not name.startswith(".")}
    assert names == {"o", "o_2", "run-report.pdf", "run-report.json", "run-report.png"}
    assert objects["run-report.pdf"].startswith(b"%PDF-")
    assert objects["run-report.png"].startswith(b"\x89PNG")
    outputs = json.loads(objects["run-report.json"])["outputs"]
    assert [output["path"] for output in outputs] == [
        f"memory://bucket/results/{stored_run}/{name}" for name in ("o", "o_2")
    ]


def test_the_jobs_of_a_run_have_the_same_names_everywhere(web: Served, stored_run: str, tmp_path: Path) -> None:
    for name in ("run.html", "run.csv", "run.json"):
        assert web.cli("hybrid", "report", stored_run, "-o", str(tmp_path / name))[0] == 0
    code, printed, _ = web.cli("hybrid", "jobs", stored_run, "-o", "json")
    assert code == 0
    page = web.get(f"/airflow_hybrid/dags/stored/dagRuns/{stored_run}/jobs?limit=500").body
    with (tmp_path / "run.csv").open() as stream:
        table = list(csv.DictReader(stream))
    reported = json.loads((tmp_path / "run.json").read_text())["jobs"]
    answers = [json.loads(printed), table, reported, json.loads(page)["jobs"]]
    first, *others = [[(job["name"], job["step"], job["index"]) for job in jobs] for jobs in answers]
    assert others == [first, first, first]
    nested = [f"[{outer}][{inner}]" for outer in "01" for inner in "01"]
    names = [name for name, _, _ in first]
    assert sorted(names) == sorted(
        ["/mapped[0]", "/mapped[1]", "/looped: iteration 1", "/looped: iteration 2"]
        + [f"/{step}/inner{index}" for step in ("each", "fused") for index in nested]
    )
    html = (tmp_path / "run.html").read_text()
    assert re.findall(r"<tr><td>(/(?:mapped|looped|each|fused)[^<]*)</td><td>local", html) == names
