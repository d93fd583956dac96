# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Alerts about jobs that have been in a queue for long, by Airflow's deadlines.

A deadline is a time that Airflow computes when a run is created; no reference can know when a job of the run will be
submitted. So a run gets several deadlines, at equal distances, and the callback of each looks at what the run's tasks
report of their batches: a batch that has waited for one or two distances is told of, and so each is about once.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model.records import JOBS_XCOM, BatchProgress, JobsReport
from airflow_hybrid.printable import printable, shortened

log = logging.getLogger(__name__)

QUEUE_KEY = "hybrid_queue"
MOST_ALERTS = 100
_MOST_BATCHES = 10
_LONGEST_REASON = 200
_LATE = 0.1
"""how much later than at its deadline a look may be, of the time between two looks: rather told twice than never"""
_UNFINISHED = frozenset({"deferred", "running"})
_INSTANCE = re.compile(r"(.+)_(\d{1,6})")


def queue_alerts(
    longer_than: timedelta, callback: AsyncCallback, *, up_to: timedelta = timedelta(days=1)
) -> list[DeadlineAlert]:
    """The deadlines of a DAG (its argument ``deadline``) that tell of jobs which wait in a queue for long.

    :param longer_than: how long a batch waits before it is told of, and the time between two looks.
    :param callback: who is told: a notifier, in whose templates ``{{ hybrid_queue }}`` is the text, or a coroutine
        function, which finds it in its ``context``. It is called in the triggerer.
    :param up_to: how long after the run was queued the last look is.
    :raises ConfigError: there would be none, or too many.
    """
    seconds = longer_than.total_seconds()
    looks = math.floor(up_to.total_seconds() / seconds) if seconds > 0 else 0
    if not 1 <= looks <= MOST_ALERTS:
        raise ConfigError(
            f"alerts about queues: a look each {longer_than} up to {up_to} makes {looks} of them, but may make"
            f" 1 to {MOST_ALERTS}",
            hint="make `longer_than` longer or `up_to` shorter",
        )
    arguments = {"longer_than_s": seconds, "path": callback.path, "arguments": callback.kwargs}
    return [
        DeadlineAlert(
            DeadlineReference.DAGRUN_QUEUED_AT, number * longer_than, AsyncCallback(tell_of_queue, dict(arguments))
        )
        for number in range(1, looks + 1)
    ]


@dataclass(frozen=True)
class QueueNotice:
    """Batches of a run that have waited for long; as text, the whole notice."""

    dag_id: str
    run_id: str
    batches: tuple[tuple[BatchProgress, float], ...]
    """each with how many seconds it has waited"""

    def __str__(self) -> str:
        return self.text

    @property
    def title(self) -> str:
        count = sum(batch.pending for batch, _ in self.batches)
        return f"{printable(self.dag_id)}: {counted(count, 'job waits', 'jobs wait')} in a queue"

    @property
    def text(self) -> str:
        lines = [f"{self.title} (run {printable(self.run_id)})"]
        for batch, waited_s in self.batches[:_MOST_BATCHES]:
            why = f" ({shortened(printable('; '.join(batch.reasons)), _LONGEST_REASON)})" if batch.reasons else ""
            step = printable(f"{batch.step} at {batch.place}")
            waited = timedelta(seconds=round(waited_s))
            lines.append(f"  {step}: {batch.pending:,} of {batch.total:,} pending{why}, for {waited}")
        if len(self.batches) > _MOST_BATCHES:
            lines.append(f"  and {counted(len(self.batches) - _MOST_BATCHES, 'batch', 'batches')} more")
        return "\n".join(lines)


async def tell_of_queue(
    longer_than_s: float, path: str, arguments: Mapping[str, Any], context: Mapping[str, Any]
) -> str | None:
    """What a deadline calls in the triggerer: tell of what waits, if anything does.

    :param path: of the callable that is to be told, and ``arguments`` of it.
    :return: what was told.
    """
    from airflow.sdk._shared.module_loading import import_string

    run = context["dag_run"]
    dag_id, run_id = str(run["dag_id"]), str(run["dag_run_id"])
    now = time.time()  # a report is as old as the last change, and nothing changes while jobs wait
    waiting: list[tuple[BatchProgress, float]] = []
    for report in await _reports(dag_id, run_id):
        for batch in report.batches:
            waited_s = now - batch.since
            if batch.pending and longer_than_s <= waited_s < (2 + _LATE) * longer_than_s:
                waiting.append((batch, waited_s))
    if not waiting:
        return None
    notice = QueueNotice(dag_id, run_id, tuple(sorted(waiting, key=lambda item: -item[1])))
    told: Any = import_string(path)
    values = {**context, QUEUE_KEY: notice}
    if isinstance(told, type) and issubclass(told, BaseNotifier):
        await told(**arguments, context=values)  # type: ignore[arg-type]
    else:
        await told(**arguments, context=values)
    return notice.text


async def _reports(dag_id: str, run_id: str) -> list[JobsReport]:
    """What the tasks of a run that have not ended report of their jobs."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates
    from airflow.sdk.execution_time.xcom import XCom

    answer: Any = await task_runner.SUPERVISOR_COMMS.asend(GetTaskStates(dag_id=dag_id, run_ids=[run_id]))
    reports: list[JobsReport] = []
    for name, state in answer.task_states.get(run_id, {}).items():
        if str(getattr(state, "value", state)) not in _UNFINISHED:
            continue
        for task_id, map_index in _instances(name):
            try:
                value = await XCom.aget_one(
                    key=JOBS_XCOM, dag_id=dag_id, task_id=task_id, run_id=run_id, map_index=map_index
                )
                if value is not None:
                    reports.append(JobsReport.from_json(value))
                    break
            except Exception:  # of Airflow's API, or of a custom XCom backend; or it is no report
                log.warning("the jobs of task %s cannot be read", printable(name), exc_info=True)
    return reports


def _instances(name: str) -> Iterator[tuple[str, int]]:
    """What Airflow may mean by ``train_3``: the fourth instance of ``train``, or a task of that name."""
    if match := _INSTANCE.fullmatch(name):
        yield match[1], int(match[2])
    yield name, -1
