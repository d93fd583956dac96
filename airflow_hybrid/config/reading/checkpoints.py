# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check which deployments the checkpoints of a hybrid file name. Works on the raw values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow_hybrid.config.bindings import is_store, no_deployment
from airflow_hybrid.config.reading.document import Path, Problem
from airflow_hybrid.config.reading.messages import choices
from airflow_hybrid.model import LOCAL_DEPLOYMENT


def check_checkpoints(data: Mapping[str, Any], deployments: Collection[str]) -> Iterator[Problem]:
    """Deployments that checkpoints name and that are not declared.

    :param data: of the whole file.
    """
    workflows = data.get("workflows")
    for name, workflow in workflows.items() if isinstance(workflows, dict) else ():
        if not isinstance(workflow, dict):
            continue
        path: Path = ("workflows", name)
        places: list[tuple[Path, Any]] = [(path, workflow)]
        bindings = workflow.get("bindings")
        places += [
            ((*path, "bindings", n), one) for n, one in enumerate(bindings if isinstance(bindings, list) else ())
        ]
        for at, value in places:
            written = value.get("checkpoint") if isinstance(value, dict) else None
            target = written.get("target") if isinstance(written, dict) else written
            here: Path = (*at, "checkpoint", "target") if isinstance(written, dict) else (*at, "checkpoint")
            known = [*deployments, LOCAL_DEPLOYMENT]
            if isinstance(target, str) and target not in known and not is_store(target):
                yield Problem(here, no_deployment(target), choices(target, known, what="declared"))
