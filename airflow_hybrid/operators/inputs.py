# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The first task of a hybrid DAG: it makes one checked input object from the user's values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_hybrid.cwl.given import job_requirements
from airflow_hybrid.model import CwlObject, WorkflowGraph
from airflow_hybrid.operators.accounts import check_accounts
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.operators.context.run import origins_of
from airflow_hybrid.operators.given import brings_requirements, refuse_nested
from airflow_hybrid.operators.outdirs import conf_outdir, rendered_outdirs
from airflow_hybrid.operators.provenance import Ground
from airflow_hybrid.operators.published.assets import OutputAsset
from airflow_hybrid.operators.templates import renderer

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class InputsOperator(HybridTask):
    """First task of the DAG: the run's conf and Params become one valid CWL input object (its XCom).

    :param ground: the default inputs, and where inputs at the DAG's deployments may be.
    :param outdir_roots: where the run's conf may send the outputs: an error there is reported before anything runs.
    :param assets: of outputs: a template that cannot be rendered is reported before anything runs.
    :param run_requirements: classes allowed in ``cwl:requirements`` of a run besides the harmless ones.
    :raises ConfigError: the person who triggered the run has no Connection for a deployment.
    :raises InputError: unknown, missing or ill-typed inputs, all in one message.
    """

    def __init__(
        self,
        *,
        graph: WorkflowGraph,
        ground: Ground,
        run_requirements: Sequence[str] = (),
        outdir_roots: Sequence[str] = (),
        assets: Sequence[OutputAsset] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.graph = graph
        self.ground = ground
        self.run_requirements = tuple(run_requirements)
        self.outdir_roots = list(outdir_roots)
        self.assets = tuple(assets)

    def run_task(self, context: Context) -> CwlObject:
        from airflow_hybrid.cwl.given.run_inputs import validate_inputs
        from airflow_hybrid.sites.files.objects import with_listings

        check_accounts(self.ground, context)
        conf = dict(getattr(context["dag_run"], "conf", None) or {})
        refuse_nested(conf)
        render = renderer(context)
        conf_outdir(self.graph, context, rendered_outdirs(self.outdir_roots, render))
        for asset in self.assets:
            asset.rendered(render)
        origins = origins_of(context, self.ground)
        all_values = origins.given(self.graph)
        inputs, requirements = job_requirements.split(all_values)
        origins.check_connections(inputs)
        with_folders = {name: with_listings(value) for name, value in inputs.items()}
        order = validate_inputs(self.graph, with_folders, self.ground.base)
        origins.check_given(order)
        if requirements is not None:
            normal = job_requirements.normal(requirements, self.graph)
            if brings_requirements(conf):
                job_requirements.check_allowed(normal, self.run_requirements)
                job_requirements.check_files(normal, self.graph)
            order[job_requirements.KEY] = normal
        return order
