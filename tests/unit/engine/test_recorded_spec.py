# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a version of this package left in Airflow's database is read by the next one: jobs run while it is upgraded.

``recorded/trigger.json`` is what an earlier version wrote. It is not made anew when a test here fails: what fails would
lose the jobs of deferred tasks. New fields need a default; a field that is no longer needed is still read.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine.spec import FragmentSpec
from airflow_hybrid.triggers.hybrid import HybridTrigger


@pytest.fixture
def recorded() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((Path(__file__).parent / "recorded" / "trigger.json").read_text())
    return value


def test_the_trigger_of_a_deferred_task_is_made_again(recorded: dict[str, Any]) -> None:
    module, _, name = recorded["classpath"].rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**recorded["kwargs"])
    assert isinstance(trigger, HybridTrigger)
    assert (trigger.jobs, trigger.timeout_s, trigger.deadline) == (2, 60.0, 1795910460.0)


def test_nothing_that_was_recorded_is_lost(recorded: dict[str, Any]) -> None:
    spec = FragmentSpec.from_json(recorded["kwargs"]["spec"])
    written = json.loads(json.dumps(spec.to_json()))
    assert _without_new(written, recorded["kwargs"]["spec"]) == recorded["kwargs"]["spec"]
    assert spec.bindings[0].targets[0].service == "gpu"
    assert (spec.deployments["boxes"].token, spec.deployments["cluster"].wraps) == ("ah-0a1b2c-0123456789", "login")


def test_its_jobs_are_found_where_they_are(recorded: dict[str, Any]) -> None:
    spec = FragmentSpec.from_json(recorded["kwargs"]["spec"])
    assert spec.identity.directory == recorded["directory"]
    assert spec.digest == recorded["digest"]


def test_what_the_next_version_lacks_would_be_told(recorded: dict[str, Any]) -> None:
    spec = FragmentSpec.from_json(recorded["kwargs"]["spec"])
    changed = replace(spec, first=0).to_json()
    assert _without_new(json.loads(json.dumps(changed)), recorded["kwargs"]["spec"]) != recorded["kwargs"]["spec"]
    lacking = {key: value for key, value in recorded["kwargs"]["spec"].items() if key != "identity"}
    with pytest.raises(KeyError, match="identity"):
        FragmentSpec.from_json(lacking)


def _without_new(written: Any, recorded: Any) -> Any:
    """``written``, without keys that were added since."""
    if isinstance(written, dict) and isinstance(recorded, dict):
        return {key: _without_new(value, recorded[key]) for key, value in written.items() if key in recorded}
    if isinstance(written, list) and isinstance(recorded, list) and len(written) == len(recorded):
        return [_without_new(a, b) for a, b in zip(written, recorded, strict=True)]
    return written
