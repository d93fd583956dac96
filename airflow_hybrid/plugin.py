# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The Airflow plugin: what is loaded once per component, so that no task has to.

Airflow calls ``on_starting`` before an executor forks its workers: what is imported then is shared by all tasks.
"""

from __future__ import annotations

import gc
import logging
import time

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

_PRELOADED_BY = ("SchedulerJob", "TriggererJob", "DagProcessorJob")


class PreloadListener:
    """Imports cwltool, its schemas and asyncssh where Airflow forks from: scheduler, triggerer, DAG processor."""

    @staticmethod
    @hookimpl
    def on_starting(component: object) -> None:
        kind = str(getattr(component, "job_type", None) or type(component).__name__)
        if not kind.startswith(_PRELOADED_BY):
            return
        started = time.perf_counter()
        try:
            import asyncssh  # noqa: F401

            import airflow_hybrid.engine
            import airflow_hybrid.operators.hybrid  # noqa: F401
            from airflow_hybrid.cwl.fragment import preload

            preload()
        except Exception:
            # a component must start whatever state this package is in: tasks then import for themselves and report
            log.exception("airflow_hybrid could not be preloaded")
            return
        gc.collect()
        gc.freeze()  # forked workers then share these pages
        log.info("airflow_hybrid preloaded in %.2f s", time.perf_counter() - started)


class HybridPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "airflow_hybrid"
    listeners = [PreloadListener]
