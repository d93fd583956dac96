# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The peers' programs, each in a virtual environment of its own that is made once and kept."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

STREAMFLOW = "0.2.0rc3"
CWLTOOL = metadata.version("cwltool")
"""the release that airflow_hybrid itself is built on"""


def streamflow(cache: Path) -> Path:
    """StreamFlow's command line."""
    return _program(cache, "streamflow", STREAMFLOW)


def cwltool(cache: Path) -> Path:
    """cwltool's command line."""
    return _program(cache, "cwltool", CWLTOOL)


def _program(cache: Path, package: str, version: str) -> Path:
    """The script ``package`` of a venv with just that package, from PyPI.

    :raises RuntimeError: with pip's own words.
    """
    folder = cache / f"{package}-{version}-py{sys.version_info.major}.{sys.version_info.minor}"
    program = folder / "bin" / package
    done = folder / "complete"
    if not done.exists():
        print(f"making {folder} ...", flush=True)
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(folder / "bin/python"), "-m", "pip", "install", "--quiet", f"{package}=={version}")
        done.touch()
    return program


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
