# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Events about tasks that their trigger ends: for these, Airflow calls no listener, and so not the provider's.

The worker that defers the task describes the run (:func:`described`), since only it has the DAG and its run; the
triggerer sends the event (:func:`send_end`), by the provider's adapter, from a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_hybrid.installation.openlineage import is_on
from airflow_hybrid.installation.openlineage.datasets import lineage_of
from airflow_hybrid.model.files import LineageEntry
from airflow_hybrid.model.values import JsonValue
from airflow_hybrid.printable import printable_lines

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_THREADS = 2
_LONGEST_MESSAGE = 10_000
_LARGEST_FACET = 64 << 10
"""bytes of the facet `airflow`, which is kept with the trigger"""


@dataclass(frozen=True)
class TaskRun:
    """A task's run as the provider describes it, in plain values: its trigger carries it.

    :ivar run_id: the provider's id of this try, which its START event has, too.
    :ivar parent: ids of the DAG's run and of the root: ``run_id``, ``job_name``, ``job_namespace``, and the same with
        ``root_``.
    :ivar files: whether files are to be told: the provider's ``emission_policy`` may forbid it.
    :ivar airflow: the fields of the facet of that name: what the provider tells of DAG, run and task at this time.
    """

    run_id: str
    job_name: str
    parent: Mapping[str, str]
    owners: Sequence[str] = ()
    tags: Sequence[str] = ()
    doc: str | None = None
    doc_type: str | None = None
    nominal_start: str | None = None
    nominal_end: str | None = None
    files: bool = True
    airflow: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "parent": dict(self.parent),
            "owners": list(self.owners),
            "tags": list(self.tags),
            "airflow": None if self.airflow is None else dict(self.airflow),
        }


def described(context: Context) -> TaskRun | None:
    """The run of a task that is about to be deferred; None: nobody wants events about it.

    A task is not to fail by its lineage: what goes wrong is logged.
    """
    if not is_on():
        return None
    try:
        return _described(context)
    except Exception:
        log.warning("there will be no OpenLineage event about the end of this task", exc_info=True)
        return None


def _described(context: Context) -> TaskRun | None:
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.providers.openlineage.utils import utils
    from airflow.providers.openlineage.utils.emission_policy import resolve_task_emission_policy

    ti: Any = context["ti"]
    run: Any = context["dag_run"]
    dag: Any = context["dag"]
    task: Any = context["task"]
    controls = resolve_task_emission_policy(operator=task, dag_id=ti.dag_id, task_id=ti.task_id)
    if not controls.emit:
        return None
    date = run.logical_date or run.run_after
    parent_id = OpenLineageAdapter.build_dag_run_id(dag.dag_id, date, run.clear_number)
    facet = utils.get_task_parent_run_facet(parent_id, dag.dag_id, dr_conf=run.conf or {})["parent"]
    doc, doc_type = utils.get_task_documentation(task)
    if not doc:
        doc, doc_type = utils.get_dag_documentation(dag)
    run_id = OpenLineageAdapter.build_task_instance_run_id(
        ti.dag_id, ti.task_id, ti.try_number, date, -1 if ti.map_index is None else ti.map_index
    )
    facets = utils.get_airflow_run_facet(
        run, dag, ti, task, run_id, include_full_task_info=controls.include_full_task_info
    )
    owner = task.owner if task.owner != "airflow" else dag.owner
    return TaskRun(
        run_id=run_id,
        job_name=utils.get_job_name(ti),
        parent={
            "run_id": facet.run.runId,
            "job_name": facet.job.name,
            "job_namespace": facet.job.namespace,
            "root_run_id": facet.root.run.runId,
            "root_job_name": facet.root.job.name,
            "root_job_namespace": facet.root.job.namespace,
        },
        owners=tuple(name.strip() for name in owner.split(",")),
        tags=tuple(sorted(dag.tags)),
        doc=doc,
        doc_type=doc_type,
        nominal_start=_text(run.data_interval_start),
        nominal_end=_text(run.data_interval_end),
        files=controls.extract_operator_metadata,
        airflow=_as_json(facets["airflow"]),
    )


def _as_json(facet: Any) -> Mapping[str, Any] | None:
    """The fields of a facet, without those of OpenLineage itself; None: it is too large to be kept."""
    from openlineage.client.serde import Serde

    text = Serde.to_json(facet)
    if len(text) > _LARGEST_FACET:
        return None
    fields: Mapping[str, Any] = json.loads(text)
    return {name: value for name, value in fields.items() if not name.startswith("_")}


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


# --- in the triggerer ----------------------------------------------------------------------------------------------

_threads: ThreadPoolExecutor | None = None
_of_thread = threading.local()


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    :ivar given: its inputs as CWL has them.
    :ivar error: why it failed; None: it did not.
    """

    given: JsonValue
    lineage: Sequence[LineageEntry]
    error: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


async def send_end(run: Mapping[str, Any], end: Ended) -> None:
    """Tell that a task has ended; wait for no longer than the provider's ``execution_timeout``.

    Nothing is raised: a task does not fail by its lineage. A server that does not answer costs threads of this
    module only, not those of the event loop.

    :param run: a :class:`TaskRun` as JSON.
    """
    global _threads
    try:
        if not await asyncio.to_thread(is_on):
            return
        from airflow.providers.openlineage import conf

        if _threads is None:
            _threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="openlineage")
        sending = asyncio.get_running_loop().run_in_executor(_threads, _send, TaskRun(**run), end)
        await asyncio.wait_for(sending, conf.execution_timeout())
    except asyncio.TimeoutError:
        log.warning("the OpenLineage event about the end of %s was not sent in time", run.get("job_name"))
    except Exception:
        log.warning("the OpenLineage event about the end of %s was not sent", run.get("job_name"), exc_info=True)


def _send(run: TaskRun, end: Ended) -> None:
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.providers.openlineage.plugins.facets import AirflowRunFacet
    from airflow.providers.openlineage.utils import utils

    if not hasattr(_of_thread, "adapter"):
        # a client's connections are of one thread
        _of_thread.adapter = OpenLineageAdapter()
    adapter: OpenLineageAdapter = _of_thread.adapter
    parent = run.parent
    arguments: dict[str, Any] = {
        "run_id": run.run_id,
        "job_name": run.job_name,
        "end_time": end.at.isoformat(),
        "task": lineage_of(end.given, end.lineage) if run.files else lineage_of(None, ()),
        "owners": list(run.owners),
        "tags": list(run.tags),
        "job_description": run.doc,
        "job_description_type": run.doc_type,
        "nominal_start_time": run.nominal_start,
        "nominal_end_time": run.nominal_end,
        "run_facets": {
            **utils.get_task_parent_run_facet(
                parent_run_id=parent["run_id"],
                parent_job_name=parent["job_name"],
                parent_job_namespace=parent["job_namespace"],
                root_parent_run_id=parent["root_run_id"],
                root_parent_job_name=parent["root_job_name"],
                root_parent_job_namespace=parent["root_job_namespace"],
            ),
            **({} if run.airflow is None else {"airflow": AirflowRunFacet(**run.airflow)}),
            **utils.get_airflow_debug_facet(),
        },
    }
    if end.error is None:
        adapter.complete_task(**arguments)
    else:
        adapter.fail_task(**arguments, error=printable_lines(end.error)[:_LONGEST_MESSAGE])
