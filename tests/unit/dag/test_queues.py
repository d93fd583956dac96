# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tasks go to the workers that have the files of their local deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.errors import ConfigError
from tests.raising import raising

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {reads: 'string[]'}
outputs: []
steps:
  align: {scatter: read, in: {read: reads}, out: [done], run: &tool {class: CommandLineTool, baseCommand: echo,
    inputs: {read: {type: string, inputBinding: {}}}, outputs: {done: stdout}}}
  join: {in: {read: {default: x}}, out: [], run: *tool}
"""


def dag(tmp_path: Path, deployments: dict[str, Any], *targets: str | list[str], **options: Any) -> HybridDag:
    (tmp_path / "main.cwl").write_text(DOCUMENT)
    bindings = [
        {"step": step, "target": [{"deployment": name} for name in ([target] if isinstance(target, str) else target)]}
        for step, target in zip(("/align", "/join"), targets, strict=True)
    ]
    inputs = {"reads": ["a"]}
    return HybridDag(tmp_path / "main.cwl", bindings=bindings, deployments=deployments, inputs=inputs, **options)


def local(queue: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "local", "config": {"queue": queue} if queue else {}, **more}


def queues(made: HybridDag) -> dict[str, str]:
    return {task.task_id: task.queue for task in made.tasks}


def test_steps_run_in_the_workers_of_their_deployment_and_other_tasks_where_they_may(tmp_path: Path) -> None:
    made = dag(tmp_path, {"left": local("a"), "right": local("b")}, "left", "right")
    of_steps = {"align": "a", "join": "b"}
    assert queues(made) == {"inputs": "default", "plan_align": "default", **of_steps, "outputs": "default"}


def test_where_all_files_are_on_one_machine_all_tasks_run_there(tmp_path: Path) -> None:
    made = dag(tmp_path, {"left": local("a"), "right": local("a")}, "left", "right")
    assert set(queues(made).values()) == {"a"}


def test_without_a_queue_the_dag_says_which(tmp_path: Path) -> None:
    made = dag(tmp_path, {"left": local(), "right": local()}, "left", "right", default_args={"queue": "all"})
    assert set(queues(made).values()) == {"all"}


@pytest.mark.parametrize("name", ["a,b", "a b", "a\nb", "{{ params.q }}"])
def test_a_queue_that_no_worker_can_serve_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as error:
        dag(tmp_path, {"left": local(name)}, "left", "left")
    assert str(error.value).endswith(
        f"deployments.left.config.queue: `queue` is {name!r}, which no worker can serve\n"
        "  -> it is the name of one queue, without spaces, commas and braces, and no template"
    )


def test_a_step_of_two_queues_is_an_error(tmp_path: Path) -> None:
    message = (
        f"{__file__}: step `/align` is bound to local deployments of different queues: `left` has `a`, `right` has"
        " `none`\n"
        "  -> give them the same `queue`, or bind the step to one of them"
    )
    with raising(ConfigError, message):
        dag(tmp_path, {"left": local("a"), "right": local()}, ["left", "right"], "right")


SSH = {"type": "ssh", "config": {"nodes": ["h"]}}


def test_a_step_that_the_triggerer_follows_cannot_have_a_queue(tmp_path: Path) -> None:
    message = (
        f"{__file__}: step `/align` is bound to `left`, which has the queue `a`, but the triggerer follows the jobs"
        " of `other`, and it is not one of the workers of that queue\n"
        "  -> with `deferrable: false` for `other`, the worker follows them"
    )
    with raising(ConfigError, message):
        dag(tmp_path, {"left": local("a"), "other": SSH}, ["left", "other"], "left")
    message = message.replace("`left`", "`other`")
    with raising(ConfigError, message):
        other = {"type": "slurm", "wraps": "left", "config": {}, "deferrable": True}
        dag(tmp_path, {"left": local("a"), "other": other}, "other", "left")


def test_what_works_through_a_deployment_with_a_queue_is_followed_by_its_workers(tmp_path: Path) -> None:
    made = dag(
        tmp_path, {"left": local("a"), "batch": {"type": "slurm", "wraps": "left", "config": {}}}, "batch", "batch"
    )
    assert set(queues(made).values()) == {"a"}
    join: Any = made.get_task("join")
    assert join.setup.defers is False


def test_a_container_is_made_by_the_workers_of_its_deployment(tmp_path: Path) -> None:
    box = {"type": "docker", "wraps": "left", "config": {"image": "debian"}}
    made = dag(tmp_path, {"left": local("a"), "right": local("b"), "box": box}, "box", "right")
    of_box = {"deploy_box": "a", "align": "a", "undeploy_box": "a"}
    assert {name: queue for name, queue in queues(made).items() if queue != "default"} == {**of_box, "join": "b"}


def test_a_remote_step_that_a_worker_follows_runs_where_the_files_of_local_deployments_are(tmp_path: Path) -> None:
    deployments = {"left": local("a"), "far": {**SSH, "deferrable": False}}
    assert set(queues(dag(tmp_path, deployments, "left", "far")).values()) == {"a"}
    made = dag(tmp_path, {"left": local("a"), "far": SSH}, "left", "far")
    assert queues(made) == {"inputs": "a", "plan_align": "a", "align": "a", "join": "default", "outputs": "a"}
    # beside a local one, too: both are followed by a worker of the queue
    made = dag(tmp_path, deployments, ["left", "far"], "left")
    assert set(queues(made).values()) == {"a"}


def test_a_queue_that_localexecutor_ignores_is_told(tmp_path: Path) -> None:
    def told(executor: str, target: str) -> list[str]:
        batch = {"type": "slurm", "wraps": "left", "config": {}}
        join: Any = dag(tmp_path, {"left": local("a"), "right": local(), "batch": batch}, "left", target).get_task(
            "join"
        )
        return list(join.setup.lost_queues(executor, "m"))

    assert told("LocalExecutor", "batch") == [
        "/join: deployment `batch` has the queue `a`, but Airflow's LocalExecutor has no queues, so the jobs run on"
        " this machine (m)\n"
        "  -> set `[core] executor` to one with workers on several machines, or leave out `queue` if this one is meant"
    ]
    assert told("CeleryExecutor", "batch") == told("LocalExecutor", "right") == []
