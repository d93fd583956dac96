# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How often Airflow tries the tasks of a DAG."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.operators.ending import AskedRetries

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: {names: 'string[]'}
outputs: []
steps:
  one: {run: &tool {class: CommandLineTool, baseCommand: 'true', inputs: {}, outputs: []}, in: {}, out: []}
  many:
    scatter: name
    run: {class: CommandLineTool, baseCommand: 'true', inputs: {name: string}, outputs: []}
    in: {name: names}
    out: []
  both:
    run: {class: Workflow, inputs: {}, outputs: [], steps: {a: &step {run: *tool, in: {}, out: []}, b: *step}}
    in: {}
    out: []
"""
SHORT = (timedelta(seconds=5), 2.0, timedelta(seconds=60))
OF_AIRFLOW = (timedelta(seconds=300), 0.0, None)


def dag_of(folder: Path, bindings: Any = None, **default_args: Any) -> HybridDag:
    (folder / "main.cwl").write_text(WORKFLOW)
    bound = {"/": {"target": "local"}, "/both": {"fuse": True}, **(bindings or {})}
    return HybridDag(folder / "main.cwl", bindings=bound, inputs={"names": ["a", "b"]}, default_args=default_args)


def tries(dag: HybridDag, task_id: str) -> tuple[int, AskedRetries, tuple[Any, ...]]:
    """Retries of a task, those of them that somebody asked for, and the pauses."""
    task: Any = dag.get_task(task_id)
    asked = task.partial_kwargs["asked_retries"] if task.is_mapped else task.asked_retries
    return task.retries, asked, (task.retry_delay, float(task.retry_exponential_backoff), task.max_retry_delay)


ALL = ("inputs", "one", "plan_many", "many", "both", "outputs")


@pytest.mark.parametrize(
    ("default_args", "expected"),
    [
        ({}, (3, AskedRetries(0, 0, 3), SHORT)),
        ({"retries": None}, (3, AskedRetries(0, 0, 3), SHORT)),
        ({"retries": 0}, (0, AskedRetries(0, 0, 0), SHORT)),
        ({"retries": 2}, (2, AskedRetries(2, 2, 2), OF_AIRFLOW)),
        (
            {"retries": 2, "retry_delay": timedelta(seconds=9)},
            (2, AskedRetries(2, 2, 2), (timedelta(seconds=9), 0.0, None)),
        ),
        ({"retry_delay": timedelta(seconds=9)}, (3, AskedRetries(0, 0, 3), (timedelta(seconds=9), 0.0, None))),
    ],
)
def test_all_tasks_have_some_tries_and_those_that_the_dag_says(
    tmp_path: Path, default_args: dict[str, Any], expected: Any
) -> None:
    dag = dag_of(tmp_path, **default_args)
    assert {task_id: tries(dag, task_id) for task_id in ALL} == dict.fromkeys(ALL, expected)


def test_airflow_s_default_task_retries_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseOperator

    monkeypatch.setattr(BaseOperator, "retries", 2)
    assert tries(dag_of(tmp_path), "one") == (2, AskedRetries(2, 2, 2), OF_AIRFLOW)


@pytest.mark.parametrize(
    ("default_args", "bindings", "expected"),
    [
        (
            {},
            {"/one": {"retries": 5, "retry_delay": 7}, "/many": {"retries": 1}, "/both/b": {"retries": 4}},
            {
                "one": (5, AskedRetries(5, 0, 5), (timedelta(seconds=7), 0.0, None)),
                "many": (1, AskedRetries(1, 0, 1), OF_AIRFLOW),
                "both": (4, AskedRetries(4, 0, 4), OF_AIRFLOW),
                "outputs": (3, AskedRetries(0, 0, 3), SHORT),
            },
        ),
        (
            {"retries": 2},
            {"/one": {"retries": 0}, "/many": {"retries": 1}, "/both/b": {"retries": 1}},
            {
                "one": (0, AskedRetries(0, 2, 0), SHORT),
                "many": (1, AskedRetries(1, 2, 1), OF_AIRFLOW),
                "both": (2, AskedRetries(2, 2, 2), OF_AIRFLOW),
                "outputs": (2, AskedRetries(2, 2, 2), OF_AIRFLOW),
            },
        ),
    ],
)
def test_a_binding_says_how_often_its_steps_are_tried(
    tmp_path: Path, default_args: dict[str, Any], bindings: Any, expected: dict[str, Any]
) -> None:
    dag = dag_of(tmp_path, bindings, **default_args)
    assert {task_id: tries(dag, task_id) for task_id in expected} == expected


def test_airflow_keeps_retries_and_pauses_of_the_dag_that_it_stores(tmp_path: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = dag_of(tmp_path)
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    for task_id in ALL:
        task = stored.get_task(task_id)
        assert (task.retries, task.retry_delay) == (3, timedelta(seconds=5)), task_id


def test_default_args_in_python_leave_the_others_of_the_hybrid_file(tmp_path: Path) -> None:
    (tmp_path / "main.cwl").write_text(WORKFLOW)
    (tmp_path / "streamflow.yml").write_text(
        "version: v1.0\n"
        "workflows: {w: {type: cwl, config: {file: main.cwl}, dag: {retries: 1, retry_delay: 2s, owner: anna}}}\n"
    )
    names = {"__file__": str(tmp_path / "dag.py")}
    (dag,) = load_dags("streamflow.yml", names, inputs={"names": ["a"]}, default_args={"owner": "ben"})
    assert dag.get_task("one").owner == "ben"
    assert tries(dag, "one") == (1, AskedRetries(1, 1, 1), (timedelta(seconds=2), 0.0, None))
