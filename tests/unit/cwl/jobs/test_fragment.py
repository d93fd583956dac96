# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Workflows of every shape give what the CWL standard says, run step by step on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.values.scatter import slice_scatter
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, SiteFacts
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import JobsFailedError, text_of
from tests.unit.cwl.texts import CAT, ECHO, JOIN, indented

Run = Callable[..., CwlObject]

FEATURES = """\
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}
"""


def crossed(method: str, kind: str) -> str:
    return (
        FEATURES
        + f"""\
inputs: {{xs: "string[]", ys: "string[]"}}
outputs: {{abs: {{type: {kind}, outputSource: join/ab}}}}
steps:
  join:
    scatter: [a, b]
    scatterMethod: {method}
    in: {{a: xs, b: ys}}
    out: [ab]
    run:
"""
        + indented(JOIN, 6)
    )


NESTED = "{type: array, items: {type: array, items: string}}"


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize(
    ("method", "kind", "given", "expected"),
    [
        ("dotproduct", "'string[]'", (["1", "2", "3"], ["x", "y", "z"]), ["1x", "2y", "3z"]),
        ("flat_crossproduct", "'string[]'", (["1", "2"], ["x", "y", "z"]), ["1x", "1y", "1z", "2x", "2y", "2z"]),
        ("nested_crossproduct", NESTED, (["1", "2"], ["x", "y", "z"]), [["1x", "1y", "1z"], ["2x", "2y", "2z"]]),
        ("dotproduct", "'string[]'", ([], []), []),
        ("flat_crossproduct", "'string[]'", (["1"], []), []),
        ("nested_crossproduct", NESTED, (["1", "2"], []), [[], []]),
        ("nested_crossproduct", NESTED, ([], ["x"]), []),
    ],
)
def test_scatter_gives_arrays_of_its_shape_whole_or_in_chunks(
    run: Run, method: str, kind: str, given: tuple[list[str], list[str]], expected: list[Any], chunk: int | None
) -> None:
    assert run(crossed(method, kind), {"xs": given[0], "ys": given[1]}, chunk=chunk) == {"abs": expected}


INNER = (
    FEATURES.replace("\n", "\n      ")
    + """inputs: {xs: "string[]", y: string}
      outputs: {abs: {type: "string[]", outputSource: join/ab}}
      steps:
        join:
          scatter: a
          in: {a: xs, b: y}
          out: [ab]
          run:
"""
    + indented(JOIN, 12)
)
OUTER = (
    FEATURES
    + """\
inputs: {xs: "string[]", ys: "string[]"}
outputs: {abs: {type: {type: array, items: {type: array, items: string}}, outputSource: inner/abs}}
steps:
  inner:
    scatter: y
    in: {xs: xs, y: ys}
    out: [abs]
    run:
      """
    + INNER
)


@pytest.mark.parametrize("chunk", [None, 1])
def test_scatter_nests_in_a_scattered_sub_workflow(run: Run, chunk: int | None) -> None:
    outputs = run(OUTER, {"xs": ["1", "2"], "ys": ["x", "y", "z"]}, chunk=chunk)
    assert outputs == {"abs": [["1x", "2x"], ["1y", "2y"], ["1z", "2z"]]}


def test_jobs_of_a_fragment_know_their_leaf_and_have_keys_that_repeat(bench: Bench) -> None:
    fragment = bench.fragment(OUTER)
    keys = []
    for _ in range(2):
        jobs = fragment.start([{"xs": ["1", "2"], "y": ["x", "y"]}], name="t").pump()
        keys.append([job.key for job in jobs])
        assert [job.step_path for job in jobs] == ["/inner/join"] * 4
        assert jobs[3].label == "/inner/join [1] [1]"
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 4


def test_jobs_of_a_single_leaf_are_numbered(bench: Bench) -> None:
    fragment = bench.fragment(crossed("flat_crossproduct", "'string[]'"))
    jobs = fragment.start([{"a": ["1", "2"], "b": ["x"]}, {"a": ["3"], "b": ["y"]}], name="t").pump()
    assert [job.key[:6] for job in jobs] == ["00000-", "00001-", "00002-"]


def test_what_a_job_is_made_from_is_in_its_name(bench: Bench) -> None:
    def keys(document: str, word: str) -> list[str]:
        fragment = bench.fragment(document)
        return [job.key for job in fragment.start([{"a": ["1", word], "b": ["x"]}], name="t").pump()]

    document = crossed("flat_crossproduct", "'string[]'")
    one, again, other = keys(document, "2"), keys(document, "2"), keys(document, "3")
    assert one == again and one[0] == other[0] and one[1] != other[1]
    edited = keys(document.replace('"%s%s"', '"%s-%s"'), "2")
    assert not set(edited) & set(one)


CONDITIONAL = (
    FEATURES
    + """\
inputs: {flag: boolean, xs: "string[]"}
outputs:
  one: {type: "string?", outputSource: single/ab}
  many: {type: {type: array, items: ["null", string]}, outputSource: several/ab}
  kept: {type: "string[]", outputSource: several/ab, pickValue: all_non_null}
  first: {type: string, outputSource: [single/ab, always/ab], pickValue: first_non_null}
steps:
  single:
    when: $(inputs.flag)
    in: {flag: flag, a: {default: p}, b: {default: q}}
    out: [ab]
    run: join.cwl
  several:
    scatter: a
    when: $(inputs.a != "2")
    in: {a: xs, b: {valueFrom: $(inputs.a + "!")}}
    out: [ab]
    run: join.cwl
  always:
    in: {a: {default: x}, b: {default: y}}
    out: [ab]
    run: join.cwl
"""
)


@pytest.mark.parametrize(
    ("flag", "one", "first"),
    [(True, "pq", "pq"), (False, None, "xy")],
)
@pytest.mark.parametrize("chunk", [None, 1])
def test_conditional_steps_deliver_null_and_pick_value_chooses(
    bench: Bench, flag: bool, one: str | None, first: str, chunk: int | None
) -> None:
    bench.write("join.cwl", "cwlVersion: v1.2\n" + JOIN)
    assert bench.run(CONDITIONAL, {"flag": flag, "xs": ["1", "2", "3"]}, chunk=chunk) == {
        "one": one,
        "many": ["11!", None, "33!"],
        "kept": ["11!", "33!"],
        "first": first,
    }


@pytest.mark.parametrize(
    ("inputs", "status"),
    [
        ({"a": ["2", "2"], "b": None}, "skipped"),
        ({"a": ["1", "2"], "b": None}, "success"),
        ({"a": [], "b": None}, "success"),
    ],
)
def test_an_instance_is_skipped_when_all_of_its_jobs_are(bench: Bench, inputs: CwlObject, status: str) -> None:
    bench.write("join.cwl", "cwlVersion: v1.2\n" + JOIN)
    results = bench.driver.run(bench.fragment(CONDITIONAL, 1), [inputs])
    assert [result.status for result in results] == [status]


def test_expand_gives_the_inputs_of_each_index_and_none_where_when_is_false(bench: Bench) -> None:
    bench.write("join.cwl", "cwlVersion: v1.2\n" + JOIN)
    fragment = bench.fragment(CONDITIONAL, 1)
    assert fragment.expand({"a": ["1", "2", "3"], "b": None}) == [{"a": "1", "b": "1!"}, None, {"a": "3", "b": "3!"}]
    single = bench.fragment(CONDITIONAL, 0)
    assert single.expand({"flag": True, "a": "p", "b": "q"}) == [{"a": "p", "b": "q"}]
    assert single.expand({"flag": False, "a": "p", "b": "q"}) == [None]


def test_expand_says_what_an_expression_did_wrong(bench: Bench) -> None:
    text = CONDITIONAL.replace('inputs.a + "!"', "inputs.a.b.c")
    bench.write("join.cwl", "cwlVersion: v1.2\n" + JOIN)
    with pytest.raises(CwlError, match=r"inputs\.a"):
        bench.fragment(text, 1).expand({"a": ["1"], "b": None})


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


def test_a_wrong_when_is_a_failure_with_its_reason(bench: Bench) -> None:
    bench.write("join.cwl", "cwlVersion: v1.2\n" + JOIN)
    text = CONDITIONAL.replace("when: $(inputs.flag)", "when: $(inputs.a)")
    with pytest.raises(JobsFailedError, match="Conditional 'when' must evaluate to 'true' or 'false'"):
        bench.run(text, {"flag": True, "xs": []})


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


def test_chunks_of_a_cross_product_are_cut_from_the_flat_index(bench: Bench) -> None:
    graph = bench.compile(crossed("nested_crossproduct", NESTED))
    step = graph.steps[0]
    inputs = slice_scatter(step, {"a": ["1", "2"], "b": ["x", "y", "z"]}, 2, 5)
    assert inputs == {"a": ["1", "2", "2"], "b": ["z", "x", "y"]}
    (result,) = bench.driver.run(Fragment.load(read_document(step.document), chunked=True), [inputs])
    assert result.outputs == {"ab": ["1z", "2x", "2y"]}
