# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the trigger form gets to see of CWL inputs."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_hybrid.model import JsonValue, Port, WorkflowGraph
from airflow_hybrid.operators.given import given_inputs
from airflow_hybrid.params import from_param, given_value, params_of, required_inputs, schema_of


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
        (["int", "string", "long"], {"type": ["integer", "string"]}),
        (["int", "Any"], {}),
        (["null", "Any"], {}),
        (["null"], {}),
        ("null", {}),
        ({"type": "string"}, {"type": "string"}),
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


FILE = {"class": "File", "path": "/d/x"}
FILES = {"type": "array", "items": "File"}


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("File", "/d/x", FILE),
        ("File", "file:///d/x", {"class": "File", "location": "file:///d/x"}),
        ("Directory", "d", {"class": "Directory", "path": "d"}),
        (["null", "File"], "/d/x", FILE),
        (["null", "File"], None, None),
        # what may be a text is one
        (["File", "string"], "/d/x", "/d/x"),
        ("string", "/d/x", "/d/x"),
        ("File", FILE, FILE),
        (FILES, ["/d/x", FILE], [FILE, FILE]),
        ({"type": "array", "items": FILES}, [["/d/x"]], [[FILE]]),
        (["null", FILES], ["/d/x"], [FILE]),
        # nobody can tell which of two arrays is meant
        ([FILES, {"type": "array", "items": "string"}], ["/d/x"], ["/d/x"]),
        ("int", [1], [1]),
    ],
)
def test_a_text_in_the_place_of_a_file_is_its_path_or_location(
    kind: JsonValue, given: JsonValue, value: JsonValue
) -> None:
    assert from_param(kind, given) == value


@pytest.mark.parametrize(
    ("kind", "default", "shown"),
    [
        ("File", {"class": "File", "location": "s3://b/x"}, "s3://b/x"),
        ("File", FILE, "/d/x"),
        ("File", {**FILE, "format": "f"}, {**FILE, "format": "f"}),
        ("File", {"class": "File", "location": 3}, {"class": "File", "location": 3}),
        # of no known type: as it is
        ("Any", FILE, FILE),
        ("int", 3, 3),
    ],
)
def test_a_default_is_shown_as_short_as_it_can_be(kind: JsonValue, default: JsonValue, shown: JsonValue) -> None:
    assert params_of(graph(Port("p", kind)), {"p": default})["p"].value == shown


@pytest.mark.parametrize(
    ("port", "settings", "description"),
    [
        (Port("p", "int"), {}, "(required)"),
        (Port("p", "int", doc="how many"), {}, "how many\n\n(required)"),
        (Port("p", ["null", "int"]), {}, None),
        (Port("p", "int"), {"p": 3}, None),
        (Port("p", "string"), {"p": "{{ ds }}"}, "Left empty: `{{ ds }}`, rendered for the run."),
        (
            Port("p", {"type": "array", "items": "string"}, doc="days"),
            {"p": ["{{ ds }}"]},
            'days\n\nLeft empty: `["{{ ds }}"]`, rendered for the run.',
        ),
    ],
)
def test_the_form_says_what_must_be_given_and_what_is_rendered(
    port: Port, settings: dict[str, JsonValue], description: str | None
) -> None:
    param = params_of(graph(port), settings)["p"]
    assert param.description == description
    assert param.value == (3 if settings == {"p": 3} else None)


def test_a_choice_may_be_left_open() -> None:
    param = params_of(graph(Port("p", {"type": "enum", "symbols": ["d#p/a", "d#p/b"]})), {})["p"]
    assert (param.schema["type"], param.schema["enum"]) == (["string", "null"], ["a", "b", None])
    assert param.resolve() is None


def test_the_form_shows_a_template_in_the_description_and_leaves_the_field_empty() -> None:
    graph = WorkflowGraph("w", "/", (Port("day", "string", doc="A date."), Port("days", "int")), (), ())
    params = params_of(graph, {"day": "{{ ds }}", "days": "{{ 3 }}"})
    assert (params["day"].value, params["days"].value) == (None, None)
    assert params["day"].description == "A date.\n\nLeft empty: `{{ ds }}`, rendered for the run."
    assert params["days"].description == "Left empty: `{{ 3 }}`, rendered for the run."


def test_keys_of_conf_that_are_no_inputs_are_in_a_section_of_the_form_of_their_own() -> None:
    params = params_of(graph(Port("n", "int", default=3, has_default=True)), {})
    assert {name: param.schema.get("section") for name, param in params.items()} == {
        "n": None,
        "outdir": "Advanced",
        "reuse": "Advanced",
        "cwl:requirements": "Advanced",
        "job": "Advanced",
    }
    assert [param.resolve() for name, param in params.items() if name != "n"] == [None, None, None, None]
    assert params["reuse"].resolve(True) is True
    with pytest.raises(ParamValidationError):
        params["reuse"].resolve("yes")


def test_an_input_takes_precedence_over_a_key_of_conf_with_its_name() -> None:
    param = params_of(graph(Port("job", "string", doc="of the queue")), {})["job"]
    assert (param.schema["title"], param.schema.get("section")) == ("job", None)


def test_documents_without_requirements_in_inputs_do_not_show_them() -> None:
    old = WorkflowGraph(name="w", path="/", inputs=(), outputs=(), steps=(), cwl_version="v1.0")
    assert list(params_of(old, {})) == ["outdir", "reuse", "job"]


def test_fields_of_the_advanced_section_that_are_left_empty_change_nothing() -> None:
    settings: dict[str, JsonValue] = {"n": 3, "cwl:requirements": [{"class": "WorkReuse", "enableReuse": True}]}
    left_empty = {"n": 4, "outdir": None, "reuse": None, "cwl:requirements": None, "job": None}
    assert given_inputs(graph(Port("n", "int")), settings, {}, left_empty) == {**settings, "n": 4}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("~/x", "/home/worker/x"),
        ({"class": "File", "path": "~/x"}, "/home/worker/x"),
        ("~", "/home/worker"),
        # names of files, and the homes of others
        ("~x", "~x"),
        ("~root/x", "~root/x"),
        ("/d/~/x", "/d/~/x"),
    ],
)
def test_a_path_in_the_home_is_in_that_of_the_worker(
    given: JsonValue, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/worker")
    assert given_value("File", given) == {"class": "File", "path": path}
    assert given_value(FILES, [given]) == [{"class": "File", "path": path}]
    assert given_value("string", "~/x") == "~/x"


def test_secondary_files_may_be_in_the_home_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/worker")
    given = {"class": "File", "path": "/d/x", "secondaryFiles": [{"class": "File", "path": "~/x.idx"}]}
    beside = [{"class": "File", "path": "/home/worker/x.idx"}]
    assert given_value("File", given) == {**given, "secondaryFiles": beside}
