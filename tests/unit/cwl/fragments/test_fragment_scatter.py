# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Scattered steps: arrays of their shape, whole or in chunks, and the names of their jobs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.fragments.fragment_run import Part
from airflow_hybrid.cwl.values.scatter import slice_scatter
from airflow_hybrid.model.records import job_name
from tests.unit.cwl.conftest import Bench, Run
from tests.unit.cwl.texts import FEATURES, JOIN, indented


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
def test_scatter_gives_arrays_of_its_shape_whole_or_in_chunks(  # noqa: PLR0913 - fixtures and cases
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
        assert jobs[3].label == "/inner/join[1][1]"
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 4


def test_jobs_in_a_scattered_sub_workflow_have_the_name_of_their_record(bench: Bench) -> None:
    instances = [{"xs": ["1", "2"], "y": ["x"]}] * 2
    jobs = bench.fragment(OUTER).start(instances, name="t", part=Part(outer_indexes=(7, 8))).pump()
    assert [job.label for job in jobs] == [f"/inner/join[{at}]" for at in ("7][0][0", "7][0][1", "8][0][0", "8][0][1")]
    assert [job_name(job.step_path, job.suffix) for job in jobs] == [job.label for job in jobs]


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


def test_chunks_of_a_cross_product_are_cut_from_the_flat_index(bench: Bench) -> None:
    graph = bench.compile(crossed("nested_crossproduct", NESTED))
    step = graph.steps[0]
    inputs = slice_scatter(step, {"a": ["1", "2"], "b": ["x", "y", "z"]}, 2, 5)
    assert inputs == {"a": ["1", "2", "2"], "b": ["z", "x", "y"]}
    (result,) = bench.driver.run(Fragment.load(read_document(step.document), chunked=True), [inputs])
    assert result.outputs == {"ab": ["1z", "2x", "2y"]}
