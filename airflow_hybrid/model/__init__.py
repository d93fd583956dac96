# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The values that packages exchange: frozen, plain, and convertible to and from JSON.

Import them from here. Files and jobs are loaded only when first used: Airflow parses a DAG file at every task start,
and that needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_hybrid.model.failure_rules import FailureRule, Growth
from airflow_hybrid.model.values import (
    LOCAL_DEPLOYMENT,
    LOCAL_LOCATION,
    MOST_NESTED,
    SCHEME,
    TOO_DEEP,
    CwlObject,
    JsonValue,
    is_too_deep,
    not_json,
    percent_decoded,
    percent_encoded,
)
from airflow_hybrid.model.workflow import (
    CHAINS,
    KEPT_S,
    MOST_REPLAYS,
    REPLAYS,
    AskedResources,
    Binding,
    Checkpoint,
    Port,
    RetryCodes,
    Source,
    Step,
    StepInput,
    Target,
    WorkflowGraph,
    WorkflowOutput,
)

if TYPE_CHECKING:
    from airflow_hybrid.model.files import FactsNeeded, FileFact, FileRef, LineageEntry, Question, SiteFacts
    from airflow_hybrid.model.jobs import JobResult, JobScript, JobState, Resources, StageEntry

_LATE = {
    **dict.fromkeys(("FactsNeeded", "FileFact", "FileRef", "LineageEntry", "Question", "SiteFacts"), "files"),
    **dict.fromkeys(("JobResult", "JobScript", "JobState", "Resources", "StageEntry"), "jobs"),
}

__all__ = [
    "CHAINS",
    "KEPT_S",
    "LOCAL_DEPLOYMENT",
    "LOCAL_LOCATION",
    "MOST_NESTED",
    "MOST_REPLAYS",
    "REPLAYS",
    "SCHEME",
    "TOO_DEEP",
    "AskedResources",
    "Binding",
    "Checkpoint",
    "CwlObject",
    "FactsNeeded",
    "FailureRule",
    "FileFact",
    "FileRef",
    "Growth",
    "JobResult",
    "JobScript",
    "JobState",
    "JsonValue",
    "LineageEntry",
    "Port",
    "Question",
    "Resources",
    "RetryCodes",
    "SiteFacts",
    "Source",
    "StageEntry",
    "Step",
    "StepInput",
    "Target",
    "WorkflowGraph",
    "WorkflowOutput",
    "is_too_deep",
    "not_json",
    "percent_decoded",
    "percent_encoded",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
