# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run as steps, sites and transfers, from a real database of Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.web.served import Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag(
    "made.cwl",
    dag_id="made",
    outdir={outdir!r},
    bindings=[
        dict(step="/", target=dict(deployment="near")),
        dict(step="/each/size", target=dict(deployment="far"), resources=dict(ramMin=300)),
    ],
    deployments=dict(near=dict(type="local", workdir={near!r}), far=dict(type="local", workdir={far!r})),
)
"""
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {lengths: "int[]", codes: "int[]"}
outputs: {sizes: {type: "File[]", outputSource: each/sizes}}
steps:
  each:
    scatter: length
    in: {length: lengths, codes: codes}
    out: [sizes]
    run:
      class: Workflow
      inputs: {length: int, codes: "int[]"}
      outputs: {sizes: {type: File, outputSource: size/size}}
      steps:
        say:
          in: {length: length}
          out: [text]
          run:
            class: CommandLineTool
            baseCommand: [sh, -c, 'head -c "$0" /dev/zero']
            requirements: {ResourceRequirement: {coresMin: 1}}
            inputs: {length: {type: int, inputBinding: {position: 1}}}
            stdout: text
            outputs: {text: stdout}
        fail:
          scatter: code
          in: {code: codes, text: say/text}
          out: []
          run:
            class: CommandLineTool
            baseCommand: [sh, -c, 'exit "$0"']
            inputs: {code: {type: int, inputBinding: {position: 1}}, text: File}
            outputs: []
        size:
          in: {text: say/text}
          out: [size]
          run:
            class: CommandLineTool
            baseCommand: [wc, -c]
            inputs: {text: {type: File, inputBinding: {}}}
            stdout: size
            outputs: {size: stdout}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(WORKFLOW)
    names = {name: str(home / name) for name in ("outdir", "near", "far")}
    (home / "dags/made.py").write_text(DAG.format(**names))
    with served(home) as web:
        yield web


def run(web: Served, codes: list[int]) -> dict[str, Any]:
    conf = {"lengths": [1000, 2000, 3000], "codes": codes}
    run_id, _ = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made", conf=conf)
    overview: dict[str, Any] = web.ask("overview", dag_id="made", run_id=run_id)
    return overview


@pytest.fixture(scope="module")
def good(web: Served) -> dict[str, Any]:
    return run(web, [0, 0])


@pytest.fixture(scope="module")
def bad(web: Served) -> dict[str, Any]:
    return run(web, [0, 3])


def step(overview: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = [step for step in overview["steps"] if step["path"] == path]
    return dict(found)


def test_jobs_of_all_instances_of_a_scattered_sub_workflow_count(good: dict[str, Any]) -> None:
    counts = {s["path"]: (s["state"], s["total"], s["succeeded"], s["failed"]) for s in good["steps"]}
    assert counts == {
        "/each": ("success", None, 0, 0),
        "/each/say": ("success", 3, 3, 0),
        "/each/fail": ("success", 6, 6, 0),
        "/each/size": ("success", 3, 3, 0),
    }


def test_failed_jobs_and_steps_are_told_from_the_others(bad: dict[str, Any]) -> None:
    failed = step(bad, "/each/fail")
    assert (failed["state"], failed["total"], failed["succeeded"], failed["failed"]) == ("failed", 6, 3, 3)
    assert step(bad, "/each")["state"] == "failed" and bad["run"]["state"] == "failed"


def test_transfers_say_how_many_bytes_moved_from_where_to_where(good: dict[str, Any]) -> None:
    moved = {(t["source"], t["target"]): (t["files"], t["bytes"]) for t in good["transfers"]}
    assert moved["near", "far"] == (3, 6000)


def test_sites_have_their_jobs_and_bytes(good: dict[str, Any]) -> None:
    sites = {site["name"]: site for site in good["sites"]}
    assert (sites["near"]["jobs"], sites["near"]["bytes_out"], sites["near"]["kinds"]) == (9, 6000, ["local"])
    assert (sites["far"]["jobs"], sites["far"]["bytes_in"], sites["far"]["nodes"]) == (3, 6000, 1)


def test_what_jobs_asked_for_and_used(good: dict[str, Any]) -> None:
    usage = step(good, "/each/say")["usage"]
    assert (usage["jobs"], usage["cores_asked"], usage["seconds"]["count"]) == (3, 1, 3)
    assert step(good, "/each/fail")["usage"]["cores_asked"] is None
    assert step(good, "/each/say")["enough"]["seconds"] == 60


def test_a_binding_may_say_what_jobs_ask_for(good: dict[str, Any]) -> None:
    asked = {path: step(good, path)["usage"]["memory_asked_mib"] for path in ("/each/say", "/each/size")}
    assert asked == {"/each/say": None, "/each/size": 300}
