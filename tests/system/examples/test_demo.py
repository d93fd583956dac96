# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``make demo``: both examples on an embedded Airflow, in one go."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.airflow_stack import free_port
from tests.system.conftest import ROOT

# three minutes alone; more than ten beside other tests on two cores
HANGS_AFTER_S = 1800


@pytest.mark.slow
@pytest.mark.timeout(HANGS_AFTER_S)
def test_the_demo_runs_both_examples_and_says_where_the_results_are(tmp_path: Path) -> None:
    port = free_port()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.demo", "--home", str(tmp_path / "airflow"), "--port", str(port)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER_S - 60,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"the demo had printed: {expired.stdout!r} {expired.stderr!r}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" s: http://127.0.0.1:{port}  user admin, password " in done.stdout
    steps = re.findall(r"^ +\d+ s  (.+) \.\.\.$", done.stdout, re.M)
    assert steps == [
        "the tables of Airflow's database",
        "waiting for api-server, scheduler, triggerer, dag-processor",
    ]
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(tmp_path / "airflow" / "airflow.cfg")
    # tasks, the UI's own links and the CLI find this Airflow, not another one of the machine
    assert settings["core"]["execution_api_server_url"] == f"http://127.0.0.1:{port}/execution/"
    assert (settings["api"]["base_url"], settings["api"]["port"]) == (f"http://127.0.0.1:{port}", str(port))
    assert re.search(r"^hello: success", done.stdout, re.M)
    assert re.search(r"^claire: success", done.stdout, re.M)
    paths = re.findall(r"^  \w+: (/\S+)", done.stdout, re.M)
    assert len(paths) >= 4
    assert [path for path in paths if not Path(path).exists()] == []
    assert not (tmp_path / "airflow" / "processes" / "pids.json").exists()
