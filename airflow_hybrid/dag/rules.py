# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""When Airflow runs a task: trigger rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import WorkflowGraph


def trigger_rule_of(dag: DAG) -> str:
    """The rule of a DAG's tasks.

    A conditional step that is skipped delivers null, so the steps after it run. Airflow allows no such rule in a DAG
    with `fail_fast`, which therefore has no conditional steps (:func:`check_fail_fast`).
    """
    return "all_success" if dag.fail_fast else "none_failed"


def check_fail_fast(graph: WorkflowGraph, dag_options: Mapping[str, Any], where: str | None) -> None:
    """:raises ConfigError: `fail_fast` of a workflow with conditional steps."""
    if not dag_options.get("fail_fast"):
        return
    conditional = [step.path for step in graph.walk() if step.when]
    if conditional:
        raise ConfigError(
            f"`fail_fast` is not possible: the step {conditional[0]} has a `when`",
            where=where,
            hint="leave `fail_fast` out: with it, Airflow would skip all that follows a step whose `when` is false",
        )
