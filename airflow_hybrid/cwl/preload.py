# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Import what every task needs, before a component forks."""

from __future__ import annotations

import functools
from typing import Any

from airflow_hybrid.cwl.adapt import prepare
from airflow_hybrid.cwl.fragments.fragment import Fragment


@functools.cache
def preload() -> None:
    """Import cwltool and its schemas and make the first objects, so that forked processes need not."""
    from cwltool.process import get_schema

    prepare()
    get_schema("v1.2")
    Fragment(_PRELOADED)


_PRELOADED: dict[str, Any] = {
    "class": "Workflow",
    "id": "#main",
    "inputs": [],
    "outputs": [],
    "steps": [
        {
            "id": "#main/step",
            "in": [],
            "out": [],
            "run": {"class": "CommandLineTool", "id": "#main/step/run", "inputs": [], "outputs": [], "baseCommand": []},
        }
    ],
}
