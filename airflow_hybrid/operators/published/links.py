# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Links from tasks in Airflow's UI to the pages of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

WEB_PREFIX = "/airflow_hybrid"
"""where Airflow's API server mounts the pages"""
OUTDIR_XCOM = "outdir"
"""key of the XCom of task ``outputs`` that says where the outputs are: an absolute path, or a URL"""


def outputs_url(dag_id: str, run_id: str) -> str:
    """The outputs of a run, in its page."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}{_run_path(dag_id, run_id)}/page#outputs"


def run_page_url(key: TaskInstanceKey) -> str:
    """The run page, with what concerns a task instance."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    query = {"task_id": key.task_id}
    if key.map_index >= 0:
        query["map_index"] = str(key.map_index)
    return f"{base}{_run_path(key.dag_id, key.run_id)}/page?{urlencode(query)}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"{WEB_PREFIX}/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


class OutputsLink(BaseOperatorLink):
    """From task ``outputs`` to the outputs of its run."""

    name = "Outputs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return outputs_url(ti_key.dag_id, ti_key.run_id)


class RunPageLink(BaseOperatorLink):
    """From a task to its steps in the run page."""

    name = "Run page"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return run_page_url(ti_key)
