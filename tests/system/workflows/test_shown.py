# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow's UI is given to show of a run: where steps run, and which jobs the instances of a scatter hold."""

from __future__ import annotations

import pytest

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags


@pytest.mark.slow
def test_tasks_are_called_by_where_they_run_and_mapped_ones_by_their_jobs(airflow: AirflowStack, dags: Dags) -> None:
    name = dags.add_like("hello/streamflow.yml", "hello_shown")
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {})
    airflow.api.succeed(name, run)
    tasks = airflow.api.tasks(name, run)
    places = {task["task_id"]: task["operator_name"] for task in tasks}
    assert {step: places[step] for step in ("split", "count", "summarise")} == {
        "split": "left",
        "count": "left",
        "summarise": "right",
    }
    assert sorted(task["rendered_map_index"] for task in tasks if task["task_id"] == "count") == [
        f"chapter {number}" for number in range(4)
    ]
