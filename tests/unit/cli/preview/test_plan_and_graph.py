# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid plan`` and ``graph``: what they say of documents, hybrid files and hostile names."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.cli.preview.drawing import dot, mermaid
from airflow_hybrid.cli.preview.flows import Flow, flows
from airflow_hybrid.cli.preview.plan import row, summary
from airflow_hybrid.cli.preview.planning import Move, planned
from airflow_hybrid.cli.preview.workflows import Shown, shown_workflows
from airflow_hybrid.config import Bindings
from airflow_hybrid.model import AskedResources

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {reads: "File[]", words: "string[]", more: "boolean"}
outputs: {o: {type: Any, outputSource: sum/o}}
steps:
  each:
    scatter: read
    in: {read: reads, words: words}
    out: [o]
    run:
      class: Workflow
      inputs: {read: File, words: "string[]"}
      outputs: {o: {type: "File[]", outputSource: count/o}}
      steps:
        count:
          scatter: word
          in: {read: read, word: words}
          out: [o]
          run:
            class: CommandLineTool
            baseCommand: grep
            requirements: {ResourceRequirement: {coresMin: 2, ramMin: 512}, ToolTimeLimit: {timelimit: 1800}}
            inputs: {word: string, read: File}
            stdout: o
            outputs: {o: stdout}
  sum:
    when: $(inputs.more)
    in: {parts: each/o, more: more}
    out: [o]
    run: {class: CommandLineTool, baseCommand: cat, inputs: {parts: Any}, stdout: o, outputs: {o: stdout}}
"""
HYBRID = """\
version: v1.0
workflows:
  w:
    type: cwl
    config: {file: w.cwl, settings: w.yml}
    bindings:
      - {step: /each, target: {deployment: queue, service: short}}
deployments:
  login: {type: ssh, config: {nodes: [{hostname: login.example.org}], username: me, sshKey: /k}}
  queue: {type: slurm, wraps: login, config: {services: {short: {partition: short}}}}
"""


@pytest.fixture
def workflow(tmp_path: Path) -> Shown:
    (tmp_path / "w.cwl").write_text(WORKFLOW)
    (tmp_path / "streamflow.yml").write_text(HYBRID)
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("x" * 1000)
    reads = [{"class": "File", "path": name} for name in ("a", "b", "c")]
    (tmp_path / "w.yml").write_text(json.dumps({"reads": reads, "words": ["u", "v"], "more": True}))
    (shown,) = shown_workflows(str(tmp_path / "streamflow.yml"))
    return shown


def test_jobs_places_core_hours_and_moves(workflow: Shown) -> None:
    count, total = planned(workflow, workflow.inputs)
    assert (count.step, count.places, count.jobs, count.cores, count.memory_mib) == (
        "/each/count", ("queue/short",), 6, 2, 512
    )  # fmt: skip
    assert (count.time_limit_s, count.core_hours) == (1800, 6.0)
    assert count.moves == (Move("reads", "local", "login", "relay", 3000),)
    assert (total.places, total.jobs, total.may_be_skipped) == (("local",), 1, True)
    assert total.moves == (Move("/each/count/o", "login", "local", "relay", None),)
    assert row(count) == {
        "step": "/each/count", "where": "queue/short", "jobs": "6", "cores": "2", "memory": "512 MiB",
        "limit": "30 min 0 s", "core-hours": "6", "moves": "reads from local (relay, 3.0 kB)",
    }  # fmt: skip
    assert row(total)["jobs"] == "up to 1"
    assert summary([count, total]) == (
        "7 jobs; at most 6 core-hours asked for (1 without a time limit); 3.0 kB to move of what is known"
    )


def test_what_a_binding_asks_for_takes_the_place_of_what_the_document_says(workflow: Shown) -> None:
    (binding,) = [binding for binding in workflow.bindings if binding.path == "/each"]
    asked = replace(binding, resources=AskedResources(ram_mib=64, walltime_s=900))
    count, _ = planned(replace(workflow, bindings=Bindings([asked])), workflow.inputs)
    assert (count.cores, count.memory_mib, count.time_limit_s, count.core_hours) == (2, 64, 900, 3.0)


def test_what_the_inputs_do_not_tell_is_unknown(workflow: Shown) -> None:
    count, total = planned(workflow, {"words": ["u"]})
    assert (count.jobs, count.core_hours, count.moves) == (None, None, ())
    assert row(count)["jobs"] == "?"
    assert summary([count, total]) == (
        "1 job, and those of 1 step that the inputs do not tell; no step has a time limit, so the core-hours are"
        " unknown; how much moves is unknown"
    )


def test_values_flow_through_the_borders_of_sub_workflows(workflow: Shown) -> None:
    assert set(flows(workflow.graph)) == {
        Flow("", "reads", "/each/count"),
        Flow("", "words", "/each/count"),
        Flow("/each/count", "o", "/sum"),
        Flow("", "more", "/sum"),
    }


def test_steps_are_grouped_by_where_they_run(workflow: Shown) -> None:
    lines = mermaid(workflow).splitlines()
    assert lines[:7] == [
        "flowchart TD",
        '  subgraph at0["queue/short"]',
        '    s0["/each/count #40;scatter word#41;"]',
        "  end",
        '  subgraph at1["local"]',
        '    s1["/sum #40;when#41;"]',
        "  end",
    ]
    assert lines[7] == '  s0 -- "o" --> s1'
    assert 's0 -> s1 [label="o"];' in dot(workflow)


def test_names_of_a_hostile_document_stay_text(workflow: Shown) -> None:
    graph = workflow.graph
    evil = '/x"]; click s0 "javascript:alert(1)" \\"\n<script>'
    hostile = replace(
        workflow, name=evil, graph=replace(graph, steps=(graph.steps[0], replace(graph.steps[1], path=evil)))
    )
    text = mermaid(hostile)
    assert "<" not in text and "javascript:" in text and 'click s0 "' not in text and len(text.splitlines()) == 10
    assert '"/x\\"]; click s0 \\"javascript:alert(1)\\" ' in dot(hostile)
    if shutil.which("dot"):
        drawn = subprocess.run(["dot", "-Tplain"], input=dot(hostile), capture_output=True, text=True)
        assert drawn.returncode == 0, drawn.stderr
