# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid plugins``: what a hybrid file can name, and what of it cannot be used."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from airflow_hybrid.cli.showing.plugins import _others, plugins
from airflow_hybrid.placement import Policy
from airflow_hybrid.version import __version__


def test_our_own_are_listed_by_kind() -> None:
    rows = {(row["kind"], row["name"]): row for row in plugins() if row["package"] == f"airflow-hybrid {__version__}"}
    assert rows["connector", "ssh"]["class"] == "airflow_hybrid.sites.connectors.ssh:SshConnector"
    assert rows["scheduler", "slurm"]["class"] == "airflow_hybrid.schedulers.slurm:SlurmScheduler"
    assert rows["policy", "data_locality"]["class"] == "airflow_hybrid.placement.policies:DataLocality"
    assert {row["problem"] for row in rows.values()} == {""}


def test_a_plugin_that_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise OSError('no licence')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    points = [
        EntryPoint("broken", "broken_plugin:It", "airflow_hybrid.policies"),
        EntryPoint("other", "pathlib:Path", "airflow_hybrid.policies"),
        EntryPoint("usable", "airflow_hybrid.placement.policies:Spread", "airflow_hybrid.policies"),
    ]
    assert {row["name"]: row["problem"] for row in _others("policy", points, Policy)} == {
        "broken": "OSError: no licence",
        "other": "it is no subclass of airflow_hybrid.placement.policies.Policy",
        "usable": "",
    }
