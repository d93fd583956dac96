# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Runs tests in a copy of the package, whole or broken."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]


def failing(folder: Path, tests: list[str], mutant: Mutant | None = None) -> list[str]:
    """The tests that fail in a copy of the package, the first ones; with a mutant, in one that it broke.

    :raises RuntimeError: pytest could not run them.
    """
    shutil.copytree(ROOT / "airflow_hybrid", folder / "airflow_hybrid", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "dags", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    if mutant is not None:
        mutant.apply(folder / "airflow_hybrid")
    folder.chmod(0o711)  # some tests run as another user
    (folder / "tmp").mkdir()
    apart = [str(ROOT / "tests/apart")] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*apart, sys.executable, "-m", "pytest", "-q", "--maxfail=3", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "TMPDIR": str(folder / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant or tests}: pytest could not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return re.findall(r"^FAILED \S*?([^/\s:]+::\S+)", done.stdout, re.MULTILINE)
