# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Links from tasks in Airflow's UI to the pages of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

WEB_PREFIX = "/airflow_hybrid"
"""where Airflow's API server mounts the pages"""
OUTDIR_XCOM = "outdir"
"""key of the XCom of task ``outputs`` that says where the outputs are: an absolute path, or a URL"""


def outputs_url(dag_id: str, run_id: str) -> str:
    """The page with a run's outputs."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}{WEB_PREFIX}/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}/outputs"


class OutputsLink(BaseOperatorLink):
    """From task ``outputs`` to the outputs of its run."""

    name = "Outputs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return outputs_url(ti_key.dag_id, ti_key.run_id)
