# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Templates among a run's inputs: when they are rendered, and what takes their place."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import Port, WorkflowGraph
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.operators.templates import renderer

GRAPH = WorkflowGraph("w", "/", (Port("day", "string"), Port("other", ["null", "string"])), (), ())


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
    class Task:
        def render_template(self, template: str, context: Any) -> str:
            raise cause

    class Instance:
        task = Task()

    context: Any = {"ti": Instance()}
    with pytest.raises(InputError) as caught:
        renderer(context)("{{ ds }}")
    assert caught.value.message == f"the template `{{{{ ds }}}}` cannot be rendered: {cause}"
    assert caught.value.retryable is retryable
