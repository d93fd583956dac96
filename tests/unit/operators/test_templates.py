# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Templates among a run's inputs: when they are rendered, and what takes their place."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import pytest
from airflow.sdk import DAG, ObjectStoragePath, XComArg

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import Port, WorkflowGraph
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.operators.templates import renderer, resolved


class Returned(XComArg):
    """What a task returned."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, context: Any) -> Any:
        return self.value


GRAPH = WorkflowGraph("w", "/", (Port("day", "string"), Port("other", ["null", "string"])), (), ())


def context_of(dag: DAG, **values: Any) -> Any:
    return {"ti": SimpleNamespace(task=SimpleNamespace(dag=dag)), **values}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ day }}", "20260102"),
        ("{{ nothing }}", None),
        (" {{ nothing }} ", None),
        ("{{ 'None' }}", "None"),
        ("{% if nothing is none %}x{% endif %}", "x"),
        ("a-{{ nothing }}", "a-None"),
        ("{{ [1, nothing] }}", "[1, None]"),
    ],
)
def test_a_template_becomes_a_text_also_where_the_dag_renders_objects(
    native: bool, template: str, text: str | None
) -> None:
    dag = DAG("d", render_template_as_native_obj=native)
    assert renderer(context_of(dag, day="20260102", nothing=None))(template) == text


class Strange:
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.bool_(True), True),
        (Decimal("3"), 3),
        (Decimal("2.5"), 2.5),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone.utc), "2026-01-02T03:00:00+00:00"),
        ([Path("/data/x")], ["/data/x"]),
        ({"path": ObjectStoragePath("file:///data/x")}, {"path": "file:///data/x"}),
        (("a", 1), ["a", 1]),
    ],
)
def test_what_a_task_returns_becomes_json(value: Any, plain: Any) -> None:
    result = resolved(Returned(value), {})
    assert (result, type(result)) == (plain, type(plain))


@pytest.mark.parametrize(("value", "kind"), [({"a"}, "set"), ([b"x"], "bytes"), ({"x": Strange()}, "Strange")])
def test_what_json_does_not_have_is_told_with_the_input(value: Any, kind: str) -> None:
    ground = Ground({}, from_tasks={"day": Returned(value)})
    asked = Origins(ground, "dag", "run", {}, {}, lambda text: text, lambda reference: resolved(reference, {}))
    with pytest.raises(InputError) as caught:
        asked.given(GRAPH)
    assert str(caught.value) == (
        f"input 'day': what the task returned holds a value of type `{kind}`, which JSON does not have\n"
        "  -> return numbers, texts, lists and dictionaries"
    )


def test_a_template_may_give_the_path_of_a_file() -> None:
    graph = WorkflowGraph("w", "/", (Port("f", ["null", "File"]), Port("n", ["null", "int", "File"])), (), ())
    asked = Origins(Ground({}, settings={"f": "{{ path }}", "n": "{{ n }}"}), "dag", "run", {}, {}, lambda text: "2026")
    assert asked.given(graph) == {"f": {"class": "File", "path": "2026"}, "n": 2026}


def test_a_param_that_the_dags_author_added_may_be_in_the_conf() -> None:
    conf = {"zz": 1, "day": "x"}
    asked = Origins(Ground({}), "dag", "run", {}, conf, str, declared=frozenset({"zz", "day", "other", "outdir"}))
    assert asked.given(GRAPH) == {"day": "x"}
    with pytest.raises(InputError) as caught:
        Origins(Ground({}), "dag", "run", {}, conf, str, declared=frozenset({"day"})).given(GRAPH)
    assert caught.value.message == "unknown conf key: 'zz'"


def origins(conf: dict[str, Any], rendered: list[str]) -> Origins:
    def render(template: str) -> str:
        rendered.append(template)
        return "2026-01-02"

    settings = {"day": "{{ ds }}", "other": "plain"}
    return Origins(Ground({}, settings=settings), "dag", "run", {}, conf, render)


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({}, {"day": "2026-01-02", "other": "plain"}),
        ({"day": None, "other": None}, {"day": "2026-01-02", "other": None}),  # as a form sends what was left empty
        ({"day": "{{ ds }}"}, {"day": "{{ ds }}", "other": "plain"}),
    ],
)
def test_a_template_is_rendered_unless_the_run_gives_a_value(conf: dict[str, Any], expected: dict[str, Any]) -> None:
    assert origins(conf, []).given(GRAPH) == expected


def test_a_template_that_the_run_replaces_is_not_rendered() -> None:
    rendered: list[str] = []
    for conf in ({"day": "x"}, {"job": {"day": "x"}}):
        assert origins(conf, rendered).given(GRAPH)["day"] == "x"
    assert rendered == []


def test_a_task_whose_inputs_have_no_files_renders_nothing() -> None:
    rendered: list[str] = []
    origins({}, rendered).check_inputs(GRAPH, {"day": "2026-01-02", "other": "plain"})
    assert rendered == []


@pytest.mark.parametrize(
    ("cause", "retryable"), [(jinja2.UndefinedError("'ds' is undefined"), False), (OSError("no answer"), True)]
)
def test_only_what_the_template_itself_does_wrong_is_final(cause: Exception, retryable: bool) -> None:
    def fail() -> str:
        raise cause

    with pytest.raises(InputError) as caught:
        renderer(context_of(DAG("d", user_defined_macros={"fail": fail})))("{{ fail() }}")
    assert caught.value.message == f"the template `{{{{ fail() }}}}` cannot be rendered: {cause}"
    assert caught.value.retryable is retryable
