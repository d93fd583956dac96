# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why the plan of a scatter is a task of its own: what Airflow lets a task be mapped over."""

from __future__ import annotations

import pytest
from airflow.models.taskmap import TaskMap
from airflow.sdk import DAG, BaseOperator, XComArg
from sqlalchemy import inspect


class _Each(BaseOperator):
    def __init__(self, *, chunk: object = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]


def test_airflow_maps_over_what_a_task_returns_and_nothing_else() -> None:
    """So the first task, which returns the run's inputs, could not plan a scatter beside that."""
    with DAG("d", schedule=None):
        first = BaseOperator(task_id="inputs")
        with pytest.raises(ValueError, match="^cannot map over XCom with custom key 'chunks' from "):
            _Each.partial(task_id="each").expand(chunk=XComArg(first, key="chunks"))


def test_airflow_keeps_one_length_for_each_task() -> None:
    """So one task could not plan two scatters."""
    key = [column.name for column in inspect(TaskMap).primary_key]
    assert key == ["dag_id", "task_id", "run_id", "map_index"]
