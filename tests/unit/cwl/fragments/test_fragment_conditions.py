# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Conditional steps: null where ``when`` is false, and what pickValue chooses."""

from __future__ import annotations

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import JobsFailedError
from tests.unit.cwl.texts import FEATURES, JOIN

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


def test_a_wrong_when_is_a_failure_with_its_reason(bench: Bench) -> None:
    bench.write("join.cwl", "cwlVersion: v1.2\n" + JOIN)
    text = CONDITIONAL.replace("when: $(inputs.flag)", "when: $(inputs.a)")
    with pytest.raises(JobsFailedError, match="Conditional 'when' must evaluate to 'true' or 'false'"):
        bench.run(text, {"flag": True, "xs": []})
