# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Workflows give what the CWL standard says, run step by step on this machine."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import SiteFacts
from tests.unit.cwl.conftest import Bench, Run
from tests.unit.cwl.driver import text_of
from tests.unit.cwl.texts import CAT, ECHO, FEATURES, JOIN, indented


@pytest.mark.parametrize(
    ("merge", "expected"),
    [("merge_nested", [["1", "2"], ["3"]]), ("merge_flattened", ["1", "2", "3"])],
)
def test_several_sources_are_merged(run: Run, merge: str, expected: Any) -> None:
    text = (
        FEATURES
        + f"""\
inputs: {{xs: "string[]", ys: "string[]"}}
outputs: {{all: {{type: Any, outputSource: same/all}}}}
steps:
  same:
    in: {{all: {{source: [xs, ys], linkMerge: {merge}}}}}
    out: [all]
    run:
      class: ExpressionTool
      inputs: {{all: Any}}
      outputs: {{all: Any}}
      expression: '$({{"all": inputs.all}})'
"""
    )
    assert run(text, {"xs": ["1", "2"], "ys": ["3"]}) == {"all": expected}


def test_defaults_hold_at_the_workflow_the_step_and_the_tool(run: Run) -> None:
    text = (
        FEATURES
        + """\
inputs: {w: {type: string, default: w}}
outputs: {x: {type: string, outputSource: x/ab}, y: {type: string, outputSource: y/ab}}
steps:
  x:
    in: {a: w, b: {default: s}}
    out: [ab]
    run:
"""
        + indented(JOIN, 6)
        + """\
  y:
    in: {a: w}
    out: [ab]
    run:
"""
        + indented(JOIN.replace("b: {type: string", "b: {type: string, default: t"), 6)
    )
    assert run(text) == {"x": "ws", "y": "wt"}


LOOP = (
    FEATURES.replace("requirements:", "$namespaces: {cwltool: 'http://commonwl.org/cwltool#'}\nrequirements:")
    + """\
inputs: {start: int}
outputs: {end: {type: int, outputSource: count/n}}
steps:
  count:
    in: {n: start}
    out: [n]
    requirements:
      cwltool:Loop:
        loopWhen: $(inputs.n < 4)
        loop: {n: n}
        outputMethod: last
    run:
      class: CommandLineTool
      baseCommand: [expr, "1", "+"]
      inputs: {n: {type: int, inputBinding: {position: 1}}}
      outputs:
        n: {type: int, outputBinding: {glob: n, loadContents: true, outputEval: "$(parseInt(self[0].contents))"}}
      stdout: n
"""
)


def test_a_loop_runs_until_its_condition_is_false(bench: Bench) -> None:
    assert bench.run(LOOP, {"start": 1}) == {"end": 4}
    jobs = [job for job, _ in bench.driver.scripts]
    assert [job.step_path for job in jobs] == ["/count"] * 3
    assert len({job.key for job in jobs}) == 3


def test_step_expressions_read_contents_by_the_reader(bench: Bench) -> None:
    bench.write("data.txt", "41")
    text = (
        FEATURES
        + """\
inputs: {file: File}
outputs: {n: {type: int, outputSource: add/n}}
steps:
  add:
    in: {n: {source: file, loadContents: true, valueFrom: $(parseInt(self.contents))}}
    out: [n]
    run:
      class: ExpressionTool
      inputs: {n: int}
      outputs: {n: int}
      expression: '$({"n": inputs.n + 1})'
"""
    )
    assert bench.run(text, {"file": {"class": "File", "path": "data.txt"}}) == {"n": 42}


def test_a_failed_job_fails_its_instance_with_a_reason_and_leaves_its_siblings_alone(bench: Bench) -> None:
    text = (
        FEATURES
        + """\
inputs: {xs: "string[]"}
outputs: {said: {type: "File[]", outputSource: test/said}}
steps:
  test:
    scatter: x
    in: {x: xs}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: [test, ok, "="]
      inputs: {x: {type: string, inputBinding: {position: 1}}}
      outputs: {said: stdout}
"""
    )
    results = bench.driver.run(bench.fragment(text), [{"x": ["ok", "no", "ok"]}, {"x": ["ok"]}])
    assert [result.status for result in results] == ["permanentFail", "success"]
    assert results[0].message == "exit code 1"
    assert len(bench.driver.scripts) == 4


def test_temporary_failure_keeps_its_name(bench: Bench) -> None:
    text = "class: CommandLineTool\nbaseCommand: 'false'\ninputs: {}\noutputs: {o: stdout}\ntemporaryFailCodes: [1]\n"
    (result,) = bench.driver.run(bench.fragment(text), [{}])
    assert result.status == "temporaryFail"


def test_a_fragment_that_cannot_go_on_ends_with_the_reason(bench: Bench) -> None:
    fragment = bench.fragment(ECHO)
    run = fragment.start([{"text": 5}], name="t")
    (job,) = run.pump()
    with pytest.raises(CwlError, match="text.*not string"):
        job.build("/w/0", {}, SiteFacts())
    job.complete(None, "permanentFail", "wrong type")
    assert run.pump() == []
    assert run.finished
    assert run.results()[0].message == "wrong type"


def test_files_go_from_step_to_step_with_names_kept_whatever_the_store_calls_them(bench: Bench) -> None:
    text = (
        FEATURES
        + """\
inputs: {text: string}
outputs: {read: {type: string, outputSource: read/text}, said: {type: File, outputSource: say/said}}
steps:
  say:
    in: {text: text}
    out: [said]
    run:
"""
        + indented(ECHO, 6)
        + """\
  read:
    in: {file: say/said}
    out: [text]
    run:
"""
        + indented(CAT, 6)
    )
    for options in ({}, {"staged": True}, {"site": "elsewhere"}, {"site": "elsewhere", "staged": True}):
        outputs = bench.run(text, {"text": "hello  world"}, **options)
        assert outputs["read"] == "hello  world\n"
        assert text_of(outputs["said"]) == "hello  world\n"
        assert set(outputs["said"]) == {"class", "location", "basename", "size", "checksum"}
        _, script = bench.driver.scripts[-1]
        assert script.command[-1].rsplit("/", 1)[1] == "said.txt"
        assert bool(script.stage) == bool(options.get("staged"))


def test_a_type_of_any_takes_values_of_different_kinds_one_after_the_other(bench: Bench) -> None:
    text = """\
class: CommandLineTool
baseCommand: echo
inputs: {x: {type: Any, inputBinding: {}}}
outputs: {o: stdout}
"""
    bench.write("f", "")
    file = {"class": "File", "location": (bench.folder / "f").as_uri(), "basename": "f"}
    results = bench.driver.run(bench.fragment(text), [{"x": file}, {"x": "text"}, {"x": 3}, {"x": file}])
    assert [result.status for result in results] == ["success"] * 4
    assert text_of(results[1].outputs["o"]) == "text\n"
