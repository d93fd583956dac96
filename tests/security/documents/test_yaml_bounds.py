# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Documents and job files that no memory, no reader or no patience is enough for are refused before they are built."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.documents.yaml_bounds import refuse_unbounded
from airflow_hybrid.cwl.given.settings import parse_inputs
from airflow_hybrid.errors import CwlError, InputError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
SAID = "with its aliases expanded it has more than 1000000 values"


def test_a_job_file_that_grows_by_its_aliases_is_refused() -> None:
    began = time.process_time()
    with pytest.raises(InputError) as error:
        parse_inputs(LAUGHS.encode(), "job.yml")
    assert str(error.value) == f"job.yml: {SAID}" and time.process_time() - began < 5


def test_a_document_that_grows_by_its_aliases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.cwl").write_text("cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\noutputs: []\n" + LAUGHS)
    with pytest.raises(CwlError, match=SAID):
        compile_document(str(tmp_path / "main.cwl"))


def test_a_value_that_holds_itself_is_refused() -> None:
    with pytest.raises(InputError) as error:
        refuse_unbounded("a: &a [1, *a]", "job.yml")
    assert str(error.value) == "job.yml: a value contains itself, or is nested too deeply"


def test_ordinary_aliases_are_what_they_stand_for() -> None:
    assert parse_inputs(b"a: &a {x: 1}\nb: [*a, *a]\n", "job.yml") == {"a": {"x": 1}, "b": [{"x": 1}, {"x": 1}]}
    refuse_unbounded("a: 'x & y * z'", "job.yml")


@pytest.mark.parametrize("text", ["[" * 64 + "]" * 64, "[" * 100_000, '{"a": ' * 2000 + "1" + "}" * 2000])
def test_a_job_file_that_is_nested_too_deeply_is_one_message(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_inputs(f"# yaml\na: {text}".encode(), "job.yml")
    (where, _, said) = str(error.value).partition(": ")
    assert where.startswith("job.yml:2:")
    assert said == "it has lists and mappings nested more than 64 deep"


def test_a_job_file_in_json_has_the_same_bound() -> None:
    def job(levels: int) -> bytes:
        return b'{"a": ' + b"[" * levels + b"]" * levels + b"}"

    assert set(parse_inputs(job(64), "job.json")) == {"a"}
    with pytest.raises(InputError) as error:
        parse_inputs(job(66), "job.json")
    assert str(error.value) == "job.json: input 'a' holds lists and objects nested more than 64 deep"
    with pytest.raises(InputError) as error:
        parse_inputs(job(100_000), "job.json")
    assert str(error.value) == "job.json: a value contains itself, or is nested too deeply"


def document(of_type: str, default: str = "[]") -> str:
    return (
        "cwlVersion: v1.2\nclass: ExpressionTool\nrequirements: {InlineJavascriptRequirement: {}}\n"
        f"inputs:\n  a:\n    default: {default}\n    type: {of_type}\n"
        "outputs: {b: Any}\nexpression: '${return {b: 1}}'\n"
    )


@pytest.mark.parametrize("levels", [200, 100_000])
def test_a_document_that_is_nested_too_deeply_is_one_message(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "main.cwl"
    path.write_text(document("Any", "[" * levels + "]" * levels))
    with pytest.raises(CwlError) as error:
        compile_document(str(path))
    assert str(error.value) == f"{path}:6:75: it has lists and mappings nested more than 64 deep"


@pytest.mark.parametrize(
    ("opening", "closing", "column"),
    [
        ("{type: array, items: ", "}", 284),
        ("{type: record, fields: {f: {type: ", "}}}", 442),
    ],
)
def test_types_in_each_other_that_take_hours_to_load_are_refused(
    tmp_path: Path, opening: str, closing: str, column: int
) -> None:
    path = tmp_path / "main.cwl"
    path.write_text(document(opening * 16 + "string" + closing * 16))
    began = time.process_time()
    with pytest.raises(CwlError) as error:
        compile_document(str(path))
    assert str(error.value) == f"{path}:7:{column}: it has array and record types nested more than 12 deep"
    assert time.process_time() - began < 5


def test_types_that_are_used_and_data_with_their_keys_are_no_such(tmp_path: Path) -> None:
    path = tmp_path / "main.cwl"
    data = "{items: {fields: " * 14 + "1" + "}}" * 14
    path.write_text(document("['null', " + "{type: array, items: " * 5 + "Any" + "}" * 5 + ", Any]", data))
    assert compile_document(str(path)).inputs[0].has_default
