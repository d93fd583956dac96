# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The last task of a hybrid DAG: the outputs come home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.model import CwlObject, JsonValue
from airflow_hybrid.operators.base import OUTDIR_KEY, HybridTask, deployments_of_run
from airflow_hybrid.operators.values import Scope

if TYPE_CHECKING:
    from airflow.sdk import Context


class OutputsOperator(HybridTask):
    """Last task of the DAG: brings the workflow's outputs to ``outdir`` and returns the CWL output object.

    :param outdir: a path, ``file:`` or object-store URL; the run's conf may give another (key ``outdir``).
        Each run has a folder of its own in it.
    """

    template_fields: Sequence[str] = ("outdir",)

    def __init__(
        self,
        *,
        scope: Scope,
        deployments: Mapping[str, Deployment],
        outdir: str,
        links: JsonValue = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scope = scope
        self.deployments = dict(deployments)
        self.outdir = outdir
        self.links = links

    def run_task(self, context: Context) -> CwlObject:
        from airflow_hybrid.gather import gather
        from airflow_hybrid.model.files import counted

        outputs = self.values(context).outputs(self.scope)[0]
        assert outputs is not None
        conf = dict(getattr(context["dag_run"], "conf", None) or {})
        names = {port.name for port in self.scope.graph.inputs}
        outdir = str(conf.get(OUTDIR_KEY) or self.outdir) if OUTDIR_KEY not in names else self.outdir
        deployments = deployments_of_run(self.deployments, context)
        value, lineage = self.run_async(gather(outputs, outdir, deployments, self.links, self.log))
        ti: Any = context["ti"]
        lineage = counted(lineage, {entry.route for entry in lineage})
        ti.xcom_push(key="lineage", value=[entry.to_json() for entry in lineage])
        self.log.info("the outputs are in %s", outdir)
        return value
