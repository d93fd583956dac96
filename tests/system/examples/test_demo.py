# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``make demo``: both examples on an embedded Airflow, in one go."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import ROOT


@pytest.mark.slow
def test_the_demo_runs_both_examples_and_says_where_the_results_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--home", str(tmp_path / "airflow")],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^hello: success", done.stdout, re.M)
    assert re.search(r"^claire: success", done.stdout, re.M)
    paths = re.findall(r"^  \w+: (/\S+)", done.stdout, re.M)
    assert len(paths) >= 4
    assert [path for path in paths if not Path(path).exists()] == []
    assert not (tmp_path / "airflow" / "processes" / "pids.json").exists()
