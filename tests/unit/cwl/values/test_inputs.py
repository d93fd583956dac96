# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values between steps, shapes of scatters, and a run's inputs against the workflow's types."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import pytest

from airflow_hybrid.cwl.given import run_inputs
from airflow_hybrid.cwl.values import inputs as ports
from airflow_hybrid.cwl.values import scatter as scatter_
from airflow_hybrid.errors import CwlError, InputError
from airflow_hybrid.model import Source, Step, StepInput, WorkflowGraph, WorkflowOutput
from tests.unit.cwl.conftest import Bench

A, B = Source("/a", "out"), Source(None, "b")


def step(*links: StepInput, scatter: tuple[str, ...] = (), method: str | None = None) -> Step:
    return Step("/s", "tool", links, ("o",), document="", scatter=scatter, scatter_method=method, position="main.cwl:3")


@pytest.mark.parametrize(
    ("document", "sources", "values", "expected"),
    [
        ({}, (A,), {A: 1}, 1),
        ({}, (A,), {}, None),
        ({}, (), {}, None),
        ({"default": 5}, (), {}, 5),
        ({"default": 5}, (A,), {A: None}, 5),
        ({"default": 5}, (A,), {A: 0}, 0),
        ({}, (A, B), {A: 1, B: 2}, [1, 2]),
        ({"linkMerge": "merge_nested"}, (A,), {A: 1}, [1]),
        ({"linkMerge": "merge_flattened"}, (A, B), {A: [1, 2], B: 3}, [1, 2, 3]),
        ({"pickValue": "first_non_null"}, (A, B), {A: None, B: 3}, 3),
        ({"pickValue": "the_only_non_null"}, (A, B), {A: None, B: 3}, 3),
        ({"pickValue": "all_non_null"}, (A, B), {A: None, B: 3}, [3]),
        ({"pickValue": "all_non_null"}, (A,), {A: [1, None, 2]}, [1, 2]),
        ({"linkMerge": "merge_flattened", "pickValue": "all_non_null"}, (A, B), {A: [1, None], B: None}, [1]),
    ],
)
def test_links_merge_pick_and_default(
    document: dict[str, Any], sources: tuple[Source, ...], values: dict[Source, Any], expected: Any
) -> None:
    assert ports.resolve_step_inputs(step(StepInput("x", sources, document)), values) == {"x": expected}
    if "default" not in document:
        graph = WorkflowGraph("g", "/", (), (WorkflowOutput("x", "Any", sources, document),), ())
        assert ports.resolve_outputs(graph, values) == {"x": expected}


@pytest.mark.parametrize(
    ("pick", "values", "message"),
    [
        ("first_non_null", {}, "All sources for 'x' are null"),
        ("the_only_non_null", {A: 1, B: 2}, "Expected only one source for 'x' to be non-null"),
    ],
)
def test_a_pick_that_fails_names_the_port(pick: str, values: dict[Source, Any], message: str) -> None:
    with pytest.raises(CwlError, match=message) as caught:
        ports.resolve_step_inputs(step(StepInput("x", (A, B), {"pickValue": pick})), values)
    assert caught.value.where == "/s/x"


def test_plain_links_do_not_import_cwltool() -> None:
    code = (
        "import sys\n"
        "from airflow_hybrid.cwl.values.inputs import resolve_step_inputs\n"
        "from airflow_hybrid.cwl.values.scatter import scatter_dims, slice_scatter, shape_outputs\n"
        "from airflow_hybrid.model import *\n"
        "s = Step('/s', 'tool', (StepInput('x', (Source(None, 'x'),), {'default': 1}),), ('o',), '', scatter=('x',))\n"
        "v = resolve_step_inputs(s, {Source(None, 'x'): [1, 2]})\n"
        "shape_outputs(s, scatter_dims(s, v), [{'o': i} for i in slice_scatter(s, v, 0, 2)['x']])\n"
        "print('cwltool' in sys.modules, 'schema_salad' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "False False\n"


XY: dict[str, Any] = {"x": [1, 2], "y": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("scatter", "method", "values", "dims"),
    [
        ((), None, {}, ()),
        (("x",), None, {"x": [1, 2, 3]}, (3,)),
        (("x", "y"), "dotproduct", {"x": [1, 2], "y": [3, 4]}, (2,)),
        (("x", "y"), "flat_crossproduct", XY, (2, 3)),
        (("x", "y"), "nested_crossproduct", XY, (2, 3)),
        (("x",), "nested_crossproduct", {"x": []}, (0,)),
    ],
)
def test_scatter_dimensions(
    scatter: tuple[str, ...], method: str | None, values: dict[str, Any], dims: tuple[int, ...]
) -> None:
    assert scatter_.scatter_dims(step(scatter=scatter, method=method), values) == dims


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": [1], "y": [1, 2]}, "different lengths.*x has 1, y has 2"),
        ({"x": 3, "y": [1]}, "over x, which is an int, not an array"),
        ({"x": None, "y": [1]}, "over x, which is null"),
        ({"x": {"class": "File"}, "y": [1]}, "over x, which is a File"),
    ],
)
def test_a_scatter_that_cannot_be_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        scatter_.scatter_dims(step(scatter=("x", "y"), method="dotproduct"), values)
    assert caught.value.where == "main.cwl:3"


@pytest.mark.parametrize("method", ["flat_crossproduct", "nested_crossproduct"])
def test_slices_of_a_cross_product_together_are_the_whole(method: str) -> None:
    crossed = step(scatter=("x", "y"), method=method)
    parts = [scatter_.slice_scatter(crossed, {**XY, "z": 0}, lo, lo + 4) for lo in (0, 4)]
    assert [len(part["x"]) for part in parts] == [4, 2]
    assert list(zip(parts[0]["x"] + parts[1]["x"], parts[0]["y"] + parts[1]["y"], strict=True)) == [
        (x, y) for x in XY["x"] for y in XY["y"]
    ]
    assert parts[0]["z"] == 0


@pytest.mark.parametrize(
    ("method", "dims", "expected"),
    [
        (None, (4,), [0, 1, 2, 3]),
        ("flat_crossproduct", (2, 2), [0, 1, 2, 3]),
        ("nested_crossproduct", (2, 2), [[0, 1], [2, 3]]),
        ("nested_crossproduct", (2, 0), [[], []]),
        ("nested_crossproduct", (0, 2), []),
        ("flat_crossproduct", (0, 2), []),
        (None, (0,), []),
    ],
)
def test_outputs_take_the_shape_of_the_scatter(method: str | None, dims: tuple[int, ...], expected: Any) -> None:
    count = 1
    for size in dims:
        count *= size
    scatter = ("x", "y")[: len(dims)]
    shaped = scatter_.shape_outputs(step(scatter=scatter, method=method), dims, [{"o": n} for n in range(count)])
    assert shaped == {"o": expected}


def test_a_skipped_job_is_null_and_a_wrong_count_is_an_error() -> None:
    scattered = step(scatter=("x",))
    assert scatter_.shape_outputs(scattered, (2,), [{"o": 1}, {}]) == {"o": [1, None]}
    with pytest.raises(ValueError, match="2 results"):
        scatter_.shape_outputs(scattered, (3,), [{"o": 1}, {}])


# --- a run's inputs -------------------------------------------------------------------------------------------------

TYPES = """\
class: Workflow
requirements:
  SchemaDefRequirement: {types: [{name: mode, type: enum, symbols: [fast, slow]}]}
  InlineJavascriptRequirement: {}
inputs:
  n: int
  f: {type: File, secondaryFiles: [.idx, {pattern: ".maybe", required: false}]}
  m: {type: mode, default: fast}
  r: {type: {type: record, fields: {a: int, b: "string?"}}, default: {a: 1}}
  opt: string?
  many: {type: "float[]", default: []}
outputs: {}
steps: []
"""


@pytest.fixture
def graph(bench: Bench) -> WorkflowGraph:
    bench.write("data.txt", "data")
    bench.write("data.txt.idx", "index")
    bench.write("bare.txt", "")
    return bench.compile(TYPES.replace("mode, default", '"#mode", default'))


def given(**more: Any) -> dict[str, Any]:
    return {"n": 3, "f": {"class": "File", "path": "data.txt"}, **more}


def test_defaults_locations_sizes_checksums_and_secondary_files_are_filled_in(
    graph: WorkflowGraph, bench: Bench
) -> None:
    order = run_inputs.validate_inputs(graph, given(), str(bench.folder))
    sha1 = hashlib.sha1(b"data").hexdigest()
    assert order["f"] == {
        "class": "File",
        "location": (bench.folder / "data.txt").as_uri(),
        "basename": "data.txt",
        "size": 4,
        "checksum": f"sha1${sha1}",
        "secondaryFiles": [
            {
                "class": "File",
                "location": (bench.folder / "data.txt.idx").as_uri(),
                "basename": "data.txt.idx",
                "size": 5,
                "checksum": "sha1$" + hashlib.sha1(b"index").hexdigest(),
            }
        ],
    }
    assert (order["n"], order["m"], order["opt"], order["many"]) == (3, "fast", None, [])
    assert order["r"]["a"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nn": 1}, r"unknown input 'nn'(.|\n)*did you mean 'n'\?"),
        ({"completely": 1}, r"unknown input 'completely'(.|\n)*the inputs are: n, f, m, r, opt, many"),
        ({"n": None}, r"input 'n' is missing \(type int, no default\)"),
        ({"n": "three"}, "input 'n' must be int, not \"three\""),
        ({"n": 1.5}, "input 'n' must be int, not 1.5"),
        ({"m": "medium"}, "input 'm' must be one of fast, slow"),
        ({"r": {"a": "x"}}, "input 'r' must be record of a, b"),
        ({"many": [1, "x"]}, "input 'many' must be array of float"),
        ({"f": "data.txt"}, "input 'f' must be File, not \"data.txt\""),
        ({"f": {"class": "File", "path": "nope"}}, "input 'f': .*nope: No such file"),
        ({"f": {"class": "Directory", "path": "data.txt"}}, "input 'f': .*data.txt is not a Directory"),
        ({"f": {"class": "File", "path": "."}}, "is not a File"),
        ({"f": {"class": "File"}}, "input 'f': a File needs a location"),
        ({"f": {"class": "File", "path": "bare.txt"}}, r"Missing required secondary file 'bare\.txt\.idx'"),
        (
            {"f": {"class": "File", "path": "data.txt", "checksum": "sha1$" + "0" * 40}},
            "input 'f': the checksum of .*data.txt is sha1",
        ),
        ({"cwl:requirements": []}, "'cwl:requirements' among a run's inputs is not supported"),
    ],
)
def test_a_wrong_input_is_one_message_that_names_it(
    graph: WorkflowGraph, bench: Bench, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run_inputs.validate_inputs(graph, given(**change), str(bench.folder))
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("value", "location"),
    [
        ({"path": "a b#1.txt"}, "{base}/a%20b%231.txt"),
        ({"location": "a%20b%231.txt"}, "{base}/a%20b%231.txt"),
        ({"path": "x:y"}, "{base}/x%3Ay"),
        ({"location": "https://example.org/a.txt"}, "https://example.org/a.txt"),
        ({"location": "hybrid://hpc/n1/data/a.txt"}, "hybrid://hpc/n1/data/a.txt"),
    ],
)
def test_locations_are_made_absolute(bench: Bench, value: dict[str, str], location: str) -> None:
    bench.write("a b#1.txt", "")
    bench.write("x:y", "")
    graph = bench.compile("class: Workflow\ninputs: {f: File}\noutputs: {}\nsteps: []\n")
    order = run_inputs.validate_inputs(graph, {"f": {"class": "File", **value}}, str(bench.folder))
    assert order["f"]["location"] == location.format(base=bench.folder.as_uri())
    assert "path" not in order["f"]


def test_formats_are_checked_with_the_documents_prefixes(bench: Bench) -> None:
    bench.write("a", "")
    text = "$namespaces: {ex: 'https://example.org/'}\nclass: Workflow\noutputs: {}\nsteps: []\n"
    graph = bench.compile(text + "inputs: {f: {type: File, format: ex:one}}\n")
    order = {"f": {"class": "File", "path": "a", "format": "ex:one"}}
    assert run_inputs.validate_inputs(graph, order, str(bench.folder))["f"]["format"] == "https://example.org/one"
    order["f"]["format"] = "ex:two"
    with pytest.raises(InputError, match="incompatible format"):
        run_inputs.validate_inputs(graph, order, str(bench.folder))
