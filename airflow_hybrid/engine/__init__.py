# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a fragment: resolve -> place -> stage -> build -> submit -> poll -> collect -> publish.

A *fragment* is the piece of a workflow that one Airflow task runs: usually one leaf step. cwltool's own machinery
(:mod:`airflow_hybrid.cwl.fragments.fragment`) yields its jobs. They are grouped into batches and run where their
bindings say. The job directory at the location is the source of truth: after a killed process or a lost reply,
everything here can be repeated from the start. No job is submitted twice, and no finished job is lost.
"""

from __future__ import annotations

from airflow_hybrid.engine.common import Logger, in_cwl_thread
from airflow_hybrid.engine.execution import FragmentExecution
from airflow_hybrid.engine.remote_values import list_folder, read_start
from airflow_hybrid.engine.spec import FragmentOutcome, FragmentSpec, TaskIdentity, task_value

__all__ = [
    "FragmentExecution",
    "FragmentOutcome",
    "FragmentSpec",
    "Logger",
    "TaskIdentity",
    "in_cwl_thread",
    "list_folder",
    "read_start",
    "task_value",
]
