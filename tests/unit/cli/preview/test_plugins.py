# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid plugins``: what is built in, what packages add, and what is wrong with it."""

from __future__ import annotations

from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from airflow_hybrid.cli.preview.plugins import plugins
from airflow_hybrid.version import __version__


def test_built_in_ones_and_those_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = [
        EntryPoint("good", "airflow_hybrid.placement.policies:DataLocality", "airflow_hybrid.policies"),
        EntryPoint("gone", "no_such_module:X", "airflow_hybrid.policies"),
        EntryPoint("other", "builtins:dict", "airflow_hybrid.policies"),
    ]

    def entry_points(group: str, **_: Any) -> list[EntryPoint]:
        return policies if group == "airflow_hybrid.policies" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    rows = list(plugins())
    kinds = {(row["kind"], row["name"]): (row["version"], row["problem"]) for row in rows}
    assert kinds["connector", "ssh"] == kinds["scheduler", "slurm"] == (__version__, "")
    assert kinds["policy", "data_locality"] == (__version__, "")
    assert kinds["policy", "good"] == ("?", "")
    assert kinds["policy", "gone"] == ("?", "ModuleNotFoundError: No module named 'no_such_module'")
    assert kinds["policy", "other"] == ("?", "it is not a Policy")
