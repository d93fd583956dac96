# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the trigger form gets to see of CWL inputs."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_hybrid.model import Port, WorkflowGraph
from airflow_hybrid.params import params_of, required_inputs, schema_of


def graph(*ports: Port) -> WorkflowGraph:
    return WorkflowGraph(name="w", path="/", inputs=ports, outputs=(), steps=())


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("int", {"type": "integer"}),
        ("long", {"type": "integer"}),
        ("double", {"type": "number"}),
        ("string", {"type": "string"}),
        ("boolean", {"type": "boolean"}),
        ("File", {"type": ["string", "object"]}),
        ("Directory", {"type": ["string", "object"]}),
        ("Any", {}),
        (["null", "string"], {"type": ["string", "null"]}),
        (["null", "int", "string"], {"type": ["integer", "string", "null"]}),
        ({"type": "array", "items": "int"}, {"type": "array", "items": {"type": "integer"}}),
        ({"type": "array", "items": "Any"}, {"type": "array"}),
        ({"type": "record", "fields": []}, {"type": "object"}),
        ({"type": "enum", "symbols": ["file:///d.cwl#main/k/a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
    ],
)
def test_a_cwl_type_becomes_the_widget_of_its_kind(kind: object, schema: dict[str, object]) -> None:
    assert schema_of(kind) == schema


def test_the_form_shows_label_doc_and_default() -> None:
    port = Port("n", "int", doc="how many", label="Number", default=3, has_default=True)
    param = params_of(graph(port), {})["n"]
    assert (param.value, param.description, param.schema["title"]) == (3, "how many", "Number")
    assert param.resolve(5) == 5


def test_settings_of_the_hybrid_file_go_before_the_documents_default() -> None:
    port = Port("n", "int", default=3, has_default=True)
    assert params_of(graph(port), {"n": 7})["n"].value == 7


def test_a_file_that_is_only_a_location_is_shown_as_text() -> None:
    param = params_of(graph(Port("f", "File")), {"f": {"class": "File", "location": "file:///d/x"}})["f"]
    assert param.value == "file:///d/x"
    assert param.resolve({"class": "File", "path": "y"}) == {"class": "File", "path": "y"}


def test_a_required_input_is_marked_and_may_come_under_job() -> None:
    param = params_of(graph(Port("n", "int")), {})["n"]
    assert "(required)" in str(param.description)
    assert param.resolve() is None  # the first task of a run says what is missing


def test_in_a_task_a_long_array_is_not_checked_again_by_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port("n", {"type": "array", "items": "int"})
    with pytest.raises(ParamValidationError):
        params_of(graph(port), {})["n"].resolve(["text"])
    # as Airflow sets it when it parses a DAG file to run a task of it
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "job")
    assert params_of(graph(port), {})["n"].resolve(["text"]) == ["text"]


def test_required_inputs_are_those_without_any_default() -> None:
    ports = (
        Port("a", "int"),
        Port("b", ["null", "int"]),
        Port("c", "int", default=0, has_default=True),
        Port("d", "int"),
    )
    assert required_inputs(graph(*ports), {"d": 1}) == ["a"]
