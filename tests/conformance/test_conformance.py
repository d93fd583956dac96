# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A part of the CWL v1.2 conformance tests through real DAGs: on this machine, and with every step at a site that
shares no file with it. ``make conformance`` runs all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.sites import connections
from tests.testbed.fixture import Testbed

ROOT = Path(__file__).parents[2]


def run_part(site: str, part: str, results: Path, environment: dict[str, str] | None = None, processes: int = 0) -> int:
    """Run a part of the suite in a process of its own; -> how many tests passed, all others being told.

    An Airflow's settings are read at its import, which this process has behind it.
    """
    argv = [sys.executable, "-m", "tests.conformance", "--site", site, "--results", str(results), "--cwl-part", part]
    argv += ["--cwl-containers", "none"]
    done = subprocess.run(
        [*argv, *(["-n", str(processes)] if processes else [])],
        cwd=ROOT,
        env={**os.environ, **(environment or {}), "AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR": str(results / "cache")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    found = json.loads((results / f"v1.2-{site}.json").read_text())
    badge = json.loads((results / f"v1.2-{site}.badge.json").read_text())
    assert badge["message"] == f"{len(found)}/{len(found)}" and badge["color"] == "brightgreen"
    assert {result["status"] for result in found} == {"passed"}
    return len(found)


@pytest.mark.conformance
@pytest.mark.long
def test_every_combination_of_tags_on_this_machine(tmp_path: Path) -> None:
    assert run_part("local", "combinations", tmp_path, processes=2) > 60


@pytest.mark.conformance
def test_every_tag_on_this_machine(tmp_path: Path) -> None:
    assert run_part("local", "tags", tmp_path, processes=2) > 15


@pytest.mark.conformance
@pytest.mark.long
@pytest.mark.parametrize("site", ["hpc", "cloud"])
def test_every_tag_at_a_site(site: str, testbed: Testbed, tmp_path: Path) -> None:
    assert run_part(site, "tags", tmp_path, {**testbed.variables(), **connections(testbed)}) > 15
