# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The task before a scatter: it counts the jobs and divides them into chunks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.cwl.documents import cache
from airflow_hybrid.cwl.values.scatter import scatter_dims
from airflow_hybrid.model import CwlObject, Step
from airflow_hybrid.operators.base import HybridTask, in_worker
from airflow_hybrid.operators.context.run import deployments_of_run
from airflow_hybrid.operators.values import SHAPE, VALUES, Scope

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_CHUNKS = 16
FEWEST_CHUNKS = 2


class PlanOperator(HybridTask):
    """Plans a step: the chunks of its scatter; for a sub-workflow also its instances' inputs.

    XComs: ``return_value`` the chunks ``[{"lo": .., "hi": ..}, ...]`` (index ranges), ``shape`` the scatter's
    dimensions, and for a sub-workflow ``values``: per instance its input object, or None where ``when`` is false.

    :param max_mapped: a scatter with more jobs is divided into this many chunks; None: :func:`most_chunks`.
    :param in_worker: whether all jobs run in Airflow's workers.
    """

    def __init__(
        self,
        *,
        step: Step,
        scope: Scope,
        deployments: Mapping[str, Deployment],
        max_mapped: int | None = None,
        in_worker: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.scope = scope
        self.deployments = dict(deployments)
        self.max_mapped = max_mapped
        self.in_worker = in_worker

    @property
    def top_scope(self) -> Scope:
        return self.scope.top

    def run_task(self, context: Context) -> Any:
        ti: Any = context["ti"]
        instances = self.values(context, self.scope).step_inputs(self.scope, self.step)
        inputs = [i for i in instances if i is not None]
        chunks: list[dict[str, int]] = []
        if self.step.scatter and not self.scope.in_chunk:
            # a skipped sub-workflow has nothing to scatter over
            dims = scatter_dims(self.step, inputs[0]) if inputs else (0,) * self.step.dimensions
            total = math.prod(dims)
            chunks = chunk_ranges(total, self.max_mapped or most_chunks(total, self.in_worker))
            ti.xcom_push(key=SHAPE, value=list(dims))
            self.log.info("%s: %d jobs in %d chunks", self.step.path, total, len(chunks))
        if self.step.workflow is not None:
            from airflow_hybrid.cwl.fragments.fragment import Fragment
            from airflow_hybrid.cwl.fragments.step_files import FileAccess
            from airflow_hybrid.engine import in_cwl_thread, list_folder, read_start

            document = cache.read_document(self.step.document)
            deployments = deployments_of_run(self.deployments, context)

            def reader(uri: str) -> bytes:
                return in_worker(read_start(uri, deployments))

            def lister(uri: str) -> list[tuple[str, bool]]:
                return in_worker(list_folder(uri, deployments))

            access = FileAccess(reader, lister)

            def expand() -> list[CwlObject | None]:
                fragment = Fragment.load(document)
                orders: list[CwlObject | None] = []
                for instance in instances:
                    orders.extend([None] if instance is None else fragment.expand(instance, access))
                return orders

            values = self.run_async(in_cwl_thread(expand))
            ti.xcom_push(key=VALUES, value=values)
            if values and all(value is None for value in values) and not self.step.scatter:
                self.log.info("%s: its `when` is false: skipped", self.step.path)
        return chunks


def most_chunks(total: int, in_worker: bool) -> int:
    """The default number of chunks of a scatter.

    A chunk costs Airflow about as much as a hundred small jobs. If all of them run in the workers of one machine, no
    more chunks than cores run at a time.

    :param total: number of jobs of the scatter; up to :data:`MOST_CHUNKS` jobs get a task each.
    :param in_worker: whether all jobs run in Airflow's workers.
    """
    if not in_worker or total <= MOST_CHUNKS:
        return MOST_CHUNKS
    from airflow.configuration import conf

    if conf.get("core", "executor", fallback="") != "LocalExecutor":
        return MOST_CHUNKS  # there may be workers on other machines
    return min(MOST_CHUNKS, max(FEWEST_CHUNKS, os.cpu_count() or 1))


def chunk_ranges(total: int, max_mapped: int) -> list[dict[str, int]]:
    """Index ranges of at most ``max_mapped`` chunks; one job per chunk if there are no more jobs than that."""
    size = max(1, math.ceil(total / max_mapped))
    return [{"lo": low, "hi": min(total, low + size)} for low in range(0, total, size)]
