# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the hybrid file says about retries: in a binding, and as StreamFlow's failure manager."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from airflow_hybrid.config import HybridFile, parse_bindings
from airflow_hybrid.model import Binding, RetryCodes
from tests.unit.config.conftest import Load, Problems

WORKFLOW = "workflows: {w: {type: cwl, config: {file: a.cwl}, bindings: BINDINGS, dag: DAG}}\n"


def text(bindings: Any = (), dag: str = "{}", more: str = "") -> str:
    return WORKFLOW.replace("BINDINGS", json.dumps(list(bindings))).replace("DAG", dag) + more


@pytest.mark.parametrize(
    ("retry", "value"),
    [
        ({"codes": [75, 3]}, RetryCodes((75, 3))),
        ({"codes": 75}, RetryCodes((75,))),
        ({"not": [3]}, RetryCodes((), (3,))),
        ({"codes": [75], "not": 3}, RetryCodes((75,), (3,))),
    ],
)
def test_a_binding_lists_exit_codes(load: Load, retry: dict[str, Any], value: RetryCodes) -> None:
    (binding,) = load(text([{"step": "/", "retry": retry}])).workflows["w"].bindings
    assert binding.retry == value
    assert Binding.from_json(json.loads(json.dumps(binding.to_json()))) == binding
    assert parse_bindings([{"step": "/", "retry": retry}]) == parse_bindings({"/": {"retry": retry}}) == (binding,)


@pytest.mark.parametrize(
    ("retry", "problem"),
    [
        ({}, ["2: K: `retry` is empty", "-> write `codes`, `not`, or both: `retry: {codes: [75], not: [2]}`"]),
        ({"codes": []}, ["2: K.codes: must not be empty"]),
        ({"codes": [0]}, ["2: K.codes[0]: input should be greater than or equal to 1, got 0"]),
        ({"not": [256]}, ["2: K.not[0]: input should be less than or equal to 255, got 256"]),
        ({"codes": ["3"]}, ["2: K.codes[0]: must be an integer, not '3'"]),
        (
            {"codes": [3, 4, 5], "not": [5, 3]},
            ["2: K: exit code 3, 5 is in `codes` and in `not`", "-> remove it from one of them"],
        ),
        ({"code": [3]}, ["2: K.code: unknown key `code`", "-> did you mean `codes`?"]),
    ],
)
def test_lists_that_say_nothing_or_two_things_are_errors(
    problems: Problems, retry: dict[str, Any], problem: list[str]
) -> None:
    key = "workflows.w.bindings[0].retry"
    assert problems(text([{"step": "/", "retry": retry}])) == [line.replace("K", key) for line in problem]


def test_retries_of_a_binding_are_inherited_by_the_steps_below_it(load: Load) -> None:
    above = {"step": "/", "retries": 2, "retry_delay": "1m", "retry": {"not": [3]}}
    below = [{"step": "/a", "target": "local"}, {"step": "/b", "retries": 0, "retry": {"codes": [4]}}]
    root, a, b = load(text([above, *below])).workflows["w"].bindings
    assert (root.retries, root.retry_delay_s, root.retry) == (2, 60.0, RetryCodes((), (3,)))
    assert (a.retries, a.retry_delay_s, a.retry) == (2, 60.0, RetryCodes((), (3,)))
    assert (b.retries, b.retry_delay_s, b.retry) == (0, 60.0, RetryCodes((4,)))


NONE = "accepted, but has no effect: `retries` of `workflows.<name>.dag`, or of a binding, run failed jobs again"


@pytest.mark.parametrize(
    ("manager", "default_args", "notice"),
    [
        (
            "{enabled: true, type: default, config: {max_retries: 50, retry_delay: 5}}",
            {"retries": 50, "retry_delay": timedelta(seconds=5)},
            "becomes `dag: {retries: 50, retry_delay: 5}` of each workflow whose `dag` has no `retries`",
        ),
        (
            "{type: rollback, config: {max_retries: 3}}",
            {"retries": 3, "retry_delay": timedelta(0)},
            "becomes `dag: {retries: 3, retry_delay: 0}` of each workflow whose `dag` has no `retries`",
        ),
        (
            "{enabled: true}",
            {"retries": 10, "retry_delay": timedelta(0)},
            "becomes `dag: {retries: 10, retry_delay: 0}` of each workflow whose `dag` has no `retries` (StreamFlow's"
            " retries without `max_retries` never end; here they are 10)",
        ),
        ("{enabled: false}", None, NONE),
        ("{}", None, NONE),
        ("{enabled: true, type: dummy, config: {}}", None, NONE),
        ("{type: of.another.package, config: {tries: many}}", None, NONE),
    ],
)
def test_a_failure_manager_of_streamflow_becomes_retries(
    load: Load, manager: str, default_args: dict[str, Any] | None, notice: str
) -> None:
    hybrid = load(text(more=f"failureManager: {manager}\n"))
    assert hybrid.workflows["w"].dag.get("default_args") == default_args
    assert [line.split(": ", 2)[2] for line in hybrid.notices] == [notice]
    again = HybridFile.from_json(json.loads(json.dumps(hybrid.to_json())))
    assert again.workflows["w"].dag == hybrid.workflows["w"].dag


@pytest.mark.parametrize(
    ("dag", "default_args"),
    [
        ("{retries: 1}", {"retries": 1}),
        ("{retries: 0, retry_delay: 9}", {"retries": 0, "retry_delay": timedelta(seconds=9)}),
        ("{default_args: {retries: 1}}", {"retries": 1}),
        ("{retry_delay: 9}", {"retries": 4, "retry_delay": timedelta(seconds=9)}),
        ("{default_args: {retry_delay: 9}}", {"retries": 4, "retry_delay": timedelta(seconds=9)}),
    ],
)
def test_what_a_workflow_says_itself_takes_precedence(load: Load, dag: str, default_args: dict[str, Any]) -> None:
    manager = "failureManager: {type: rollback, config: {max_retries: 4, retry_delay: 5}}\n"
    assert load(text(dag=dag, more=manager)).workflows["w"].dag["default_args"] == default_args


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            "{max_retries: many}",
            ["`max_retries` must be an integer that is not negative, not 'many'", "-> write 3, for example"],
        ),
        (
            "{retry_delay: -1}",
            ["`retry_delay` must be an integer that is not negative, not -1", "-> write 3, for example"],
        ),
        ("{retries: 3}", ["unknown key `retries` in `config`", "-> there are: max_retries, retry_delay"]),
    ],
)
def test_a_failure_manager_that_streamflow_refuses_is_refused(
    problems: Problems, config: str, problem: list[str]
) -> None:
    message, hint = problems(text(more=f"failureManager: {{type: rollback, config: {config}}}\n"))
    assert [message.split(": ", 2)[2], hint] == problem
    assert message.startswith("3: failureManager: ")
