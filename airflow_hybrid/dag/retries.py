# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How often Airflow tries the tasks of a DAG, and how often lost outputs are made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

from airflow_hybrid.config import bind, parse_checkpoint
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import MOST_REPLAYS, REPLAYS, Binding
from airflow_hybrid.operators.ending import AskedRetries

RETRIES = 3
"""tries by default, for what is nobody's fault: Airflow's API or its database did not answer, a connection was lost"""
RETRY_DELAY_S = 5.0
"""the shortest pause before such a try. Each is twice as long as the one before, and up to twice that (Airflow makes
tasks that failed together start at different times)"""
LONGEST_DELAY_S = 60.0


def _asked_of_dag(default_args: Mapping[str, Any]) -> int | None:
    """The retries that somebody gave to all tasks, in the DAG or in Airflow's configuration; None: nobody did."""
    given = default_args.get("retries")
    if given is not None:
        return int(given)
    return BaseOperator.retries or None


def task_arguments(
    default_args: Mapping[str, Any], bindings: Iterable[Binding] = (), steps: Sequence[str] = ()
) -> dict[str, Any]:
    """Arguments of a task: how often it is tried again, and after which pause.

    :param default_args: of the DAG.
    :param steps: paths of the steps that its jobs belong to; the first is that of the task itself.
    """
    of_dag = _asked_of_dag(default_args)
    bound = [bind(bindings, path) for path in steps]
    asked = [of_dag if binding.retries is None else binding.retries for binding in bound] or [of_dag]
    retries = max(RETRIES if most is None else most for most in asked)
    arguments: dict[str, Any] = {
        "retries": retries,
        "asked_retries": AskedRetries(max(most or 0 for most in asked), of_dag or 0, retries),
    }
    delay_s = bound[0].retry_delay_s if bound else None
    if delay_s is not None:
        arguments["retry_delay"] = timedelta(seconds=delay_s)
    elif "retry_delay" not in default_args and not any(asked):
        arguments["retry_delay"] = timedelta(seconds=RETRY_DELAY_S)
        arguments["retry_exponential_backoff"] = 2
        arguments["max_retry_delay"] = timedelta(seconds=LONGEST_DELAY_S)
    return arguments


def recovery_of(recovery: Mapping[str, Any] | None, checkpoint: Any, where: str | None) -> dict[str, Any]:
    """What is done about lost data: ``replays``, and the ``checkpoint`` of the workflow.

    :raises ConfigError: an argument is wrong.
    """
    return {"replays": _replays_of(recovery, where), "checkpoint": parse_checkpoint(checkpoint)}


def _replays_of(recovery: Mapping[str, Any] | None, where: str | None) -> int:
    """How often a job whose outputs are lost is run again.

    :raises ConfigError: the argument ``recovery`` is wrong.
    """
    given = {"replay": REPLAYS, **(recovery or {})}
    times = given.pop("replay")
    if given:
        raise ConfigError(f"`recovery` has the unknown key {next(iter(given))!r}", where=where, hint="it has `replay`")
    if times == "off":
        return 0
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MOST_REPLAYS:
        message = f"`recovery: {{replay: ...}}` is {times!r}, but must be a number from 1 to {MOST_REPLAYS}, or `off`"
        raise ConfigError(message, where=where)
    return times
