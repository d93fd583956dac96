# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Loops: every output method and merge of cwltool's own documents, and what must not happen in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cwltool
import pytest

from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.fragments import fragment_run
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.fragments.step_files import FileAccess
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.errors import CwlError, HostUnreachableError
from airflow_hybrid.model import Binding
from tests.needs import unavailable
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import Driver, text_of

CWLTOOL_TESTS = Path(cwltool.__file__).parent / "tests"
ONE, TWO, SCATTER = {"i1": 1}, {"i1": 1, "i2": 1}, {"i1": [1, 2, 3, 4, 5], "i2": 1}
EXPECTED: dict[str, tuple[dict[str, Any], Any]] = {
    "all-output-loop": (ONE, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
    "all-output-loop-no-iteration": (ONE, []),
    "default-value-loop": (ONE, [8, 11, 14, 17, 20]),
    "loop-inside-loop": (TWO, [2, 3, 4]),
    "loop-inside-loop-all": (TWO, [[2], [2, 3], [2, 3, 4]]),
    "loop-inside-scatter": (SCATTER, [10, 10, 10, 10, 10]),
    "multi-source-loop": (ONE, [2, 3, 4, 5, 8, 11, 14, 17, 20]),
    "opt-var-loop": (ONE, 10),
    "scatter-inside-loop": (SCATTER, [10, 11, 12, 13, 14]),
    "single-var-loop": (ONE, 10),
    "single-var-loop-no-iteration": (ONE, None),
    "two-vars-loop": (TWO, 10),
    "two-vars-loop-2": (TWO, 10),
    "value-from-loop": (TWO, 10),
}
"""cwltool's own documents: what goes in, and what its tests say comes out"""


@pytest.mark.parametrize("folder", ["loop", "loop-ext"])
@pytest.mark.parametrize("name", EXPECTED)
def test_the_loops_of_cwltool_give_what_its_tests_expect(tmp_path: Path, folder: str, name: str) -> None:
    document = CWLTOOL_TESTS / folder / f"{name}.cwl"
    if not document.exists():
        unavailable("this test", "cwltool's test documents, which its wheel has", "make .venv/.dev")
    given, expected = EXPECTED[name]
    graph = compile_document(str(document))
    assert Driver(tmp_path).run_graph(graph, validate_inputs(graph, given, str(tmp_path))) == {"o1": expected}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("invalid-loop-scatter", "not compatible with the `scatter`"),
        ("invalid-loop-when", "not compatible with the `when`"),
        ("invalid-no-loopWhen", "missing required field 'loopWhen'|missing required field `loopWhen`"),
        ("invalid-multi-source-loop-no-requirement", "MultipleInputFeatureRequirement is missing"),
        ("invalid-loop-command-line-tool", "Loop"),
        ("invalid-loop-hint", "cwltool:Loop must be among the step's requirements, not its hints"),
    ],
)
def test_a_loop_that_is_no_valid_one_is_refused_with_its_line(name: str, message: str) -> None:
    document = CWLTOOL_TESTS / "loop-ext" / f"{name}.cwl"
    with pytest.raises(CwlError, match=message) as caught:
        compile_document(str(document))
    assert str(caught.value.where).startswith(f"{document}:")


COUNT = """\
class: Workflow
requirements: {{InlineJavascriptRequirement: {{}}, StepInputExpressionRequirement: {{}}}}
inputs: {{start: {{type: int, default: 0}}}}
outputs:
  all: {{type: 'int[]', outputSource: count/n}}
  again: {{type: 'int[]', outputSource: count/n}}
steps:
  count:
    in: {{n: start}}
    out: [n]
    when: {when}
    loop: {{n: n}}
    outputMethod: all_iterations
    run:
      class: ExpressionTool
      inputs: {{n: int}}
      outputs: {{n: int}}
      expression: '$({{"n": inputs.n + 1}})'
"""


def compiled(bench: Bench, text: str) -> Fragment:
    graph = compile_document(str(bench.write("loop.cwl", "cwlVersion: v1.3.0-dev1\n" + text)))
    return Fragment.load(read_document(graph.steps[0].document))


def test_all_iterations_of_a_loop_may_be_read_twice(bench: Bench) -> None:
    document = bench.write("loop.cwl", "cwlVersion: v1.3.0-dev1\n" + COUNT.format(when="$(inputs.n < 3)"))
    graph = compile_document(str(document))
    assert Driver(bench.folder / "jobs").run_graph(graph, {"start": 0}) == {"all": [1, 2, 3], "again": [1, 2, 3]}


def test_an_endless_loop_ends_with_a_message_that_says_what_to_do(bench: Bench) -> None:
    run = compiled(bench, COUNT.format(when="$(true)")).start(
        [{"n": 0}], name="t", binding=lambda path: Binding(path, (), max_iterations=7)
    )
    with pytest.raises(CwlError, match="the loop has had 7 iterations") as caught:
        for _ in range(10):  # on a slow machine it pauses in between
            run.pump()
    assert caught.value.where == "/count"
    assert "max_iterations" in str(caught.value)


def test_a_loop_of_expressions_leaves_the_thread_to_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragment_run, "SLICE_S", 0.0)
    run = compiled(bench, COUNT.format(when="$(inputs.n < 5)")).start([{"n": 0}], name="t")
    pauses = 0
    while not run.pump() and run.paused:
        pauses += 1
    assert pauses >= 4
    assert run.results()[0].outputs == {"n": [1, 2, 3, 4, 5]}
    assert run.iterations == {"/count": 5}


LOOP_IN_A_LOOP = """\
cwlVersion: v1.3.0-dev1
class: Workflow
requirements:
  InlineJavascriptRequirement: {}
  StepInputExpressionRequirement: {}
  SubworkflowFeatureRequirement: {}
  ScatterFeatureRequirement: {}
inputs: []
outputs: {n: {type: Any, outputSource: outer/n}}
steps:
  outer:
    in: {n: {default: 0}}
    out: [n]
    when: $(inputs.n < 2)
    loop: {n: {valueFrom: $(inputs.n + 1)}}
    run:
      class: Workflow
      inputs: {n: int}
      outputs: {n: {type: 'int[]', outputSource: spread/m}}
      steps:
        spread:
          in: {n: n, one: {default: [0, 0]}}
          scatter: one
          out: [m]
          run:
            class: Workflow
            inputs: {n: int, one: int}
            outputs: {m: {type: int, outputSource: inner/m}}
            steps:
              inner:
                in: {m: one}
                out: [m]
                when: $(inputs.m < 2)
                loop: {m: m}
                run:
                  class: CommandLineTool
                  baseCommand: 'true'
                  inputs: {m: int}
                  outputs: {m: {type: int, outputBinding: {outputEval: $(inputs.m + 1)}}}
"""


def test_a_job_in_a_loop_says_which_iteration_it_is(bench: Bench) -> None:
    graph = compile_document(str(bench.write("loop.cwl", LOOP_IN_A_LOOP)))
    Driver.run_graph(bench.driver, graph, {})
    labels = [job.label for job, _ in bench.driver.scripts]
    step = "/outer/spread/inner"
    assert sorted(labels) == sorted(
        f"{step}[{index}]: iteration {outer}.{inner}" for outer in (1, 2) for index in (0, 1) for inner in (1, 2)
    )
    assert len({job.key for job, _ in bench.driver.scripts}) == 8


def test_a_file_goes_from_one_iteration_to_the_next_where_it_is(bench: Bench) -> None:
    text = """\
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {text: File}
outputs: {text: {type: File, outputSource: grow/text}}
steps:
  grow:
    in: {text: text, n: {default: 0}}
    out: [text]
    when: $(inputs.n < 3)
    loop: {text: text, n: {valueFrom: $(inputs.n + 1)}}
    run:
      class: CommandLineTool
      requirements: {ShellCommandRequirement: {}}
      inputs: {text: File, n: int}
      arguments:
      - {valueFrom: '(cat', shellQuote: false}
      - $(inputs.text.path)
      - {valueFrom: '; echo $(inputs.n))', shellQuote: false}
      outputs: {text: stdout}
      stdout: text
"""
    bench.write("start.txt", "start\n")
    graph = compile_document(str(bench.write("loop.cwl", "cwlVersion: v1.3.0-dev1\n" + text)))
    given = validate_inputs(graph, {"text": {"class": "File", "path": "start.txt"}}, str(bench.folder))
    assert text_of(bench.driver.run_graph(graph, given)["text"]) == "start\n0\n1\n2\n"


def test_a_site_that_cannot_be_read_is_no_failure_of_the_document(bench: Bench) -> None:
    text = """\
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {file: File}
outputs: {n: {type: int, outputSource: add/n}}
steps:
  add:
    in: {n: {source: file, loadContents: true, valueFrom: $(parseInt(self.contents))}}
    out: [n]
    run: {class: ExpressionTool, inputs: {n: int}, outputs: {n: int}, expression: '$(inputs)'}
"""
    file = {"class": "File", "location": "hybrid://far/host/data"}

    def unreachable(uri: str) -> bytes:
        raise HostUnreachableError("it does not answer", where="far")

    fragment = bench.fragment(text)
    run = fragment.start([{"n": file}], name="t", access=FileAccess(unreachable))
    with pytest.raises(HostUnreachableError) as caught:
        run.pump()
    assert caught.value.retryable
    with pytest.raises(HostUnreachableError):
        fragment.expand({"n": file}, FileAccess(unreachable))


FAILING = """\
class: Workflow
requirements:
  InlineJavascriptRequirement: {{}}
  StepInputExpressionRequirement: {{}}
  MultipleInputFeatureRequirement: {{}}
inputs: []
outputs: {{n: {{type: Any, outputSource: count/n}}}}
steps:
  count:
    in: {{n: {{default: 0}}}}
    out: [n]
    when: $(inputs.n < 5)
    loop: {loop}
    outputMethod: {method}
    run:
      class: CommandLineTool
      baseCommand: [sh, -c]
      arguments: ['test $(inputs.n) -lt 2 || exit 3']
      {codes}
      inputs: {{n: int}}
      outputs: {{n: {{type: int, outputBinding: {{outputEval: $(inputs.n + 1)}}}}}}
"""


@pytest.mark.parametrize("method", ["last_iteration", "all_iterations"])
@pytest.mark.parametrize("codes", ["", "temporaryFailCodes: [3]"])
@pytest.mark.parametrize(
    "loop",
    [
        "{n: n}",
        "{n: {outputSource: [n, n], pickValue: first_non_null}}",
        "{n: {outputSource: [n, n], linkMerge: merge_flattened, valueFrom: '$(self[0])'}}",
        "{n: {valueFrom: $(inputs.n + 1)}}",
    ],
)
def test_a_failed_job_ends_its_loop_and_is_told_as_what_it_is(bench: Bench, loop: str, codes: str, method: str) -> None:
    fragment = compiled(bench, FAILING.format(loop=loop, codes=codes, method=method))
    results = bench.driver.run(fragment, [{"n": 0}])
    assert [(result.status, result.message) for result in results] == [("permanentFail", "exit code 3")]
    assert [job.label for job, _ in bench.driver.scripts] == [f"/count: iteration {n}" for n in (1, 2, 3)]


def test_a_defect_of_who_waits_for_a_failed_job_is_raised(bench: Bench) -> None:
    def stumbles(outputs: Any, status: str) -> None:
        raise TypeError(f"a defect after {status}")

    run = compiled(bench, FAILING.format(loop="{n: n}", codes="", method="last_iteration")).start([{"n": 0}], name="t")
    (job,) = run.pump()
    job._callback = stumbles
    with pytest.raises(TypeError) as caught:
        job.complete(None, "permanentFail", "exit code 3")
    assert str(caught.value) == "a defect after permanentFail"


def test_a_loop_that_cannot_make_its_next_inputs_says_which_iteration_and_why(bench: Bench) -> None:
    text = FAILING.format(loop="{n: {valueFrom: $(nobody.n)}}", codes="", method="last_iteration")
    run = compiled(bench, text).start([{"n": 0}], name="t")
    (job,) = run.pump()
    with pytest.raises(CwlError) as caught:
        job.complete({"n": 1}, "success")
    assert str(caught.value) == "/count: iteration 1: ReferenceError: nobody is not defined: (nobody.n)"
