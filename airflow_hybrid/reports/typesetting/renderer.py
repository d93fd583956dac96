# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Starts the process that sets reports."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.interpreter import module_command, module_environment
from airflow_hybrid.printable import printable, readable, shortened

_PROGRAM = "airflow_hybrid.reports.typesetting.process"
_LONGEST_S = 300
_LONGEST_PROBLEM = 500
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
"""variables of this process that its interpreter may need to start again"""


def check_installed() -> None:
    """:raises ConfigError: the package that sets PDF and PNG is not installed."""
    if find_spec("typst") is None:
        raise ConfigError(
            "PDF and PNG are set by the package typst, which is not installed",
            hint="pip install 'airflow-hybrid[report]', or choose HTML or SVG",
        )


def typeset(document: str, data: Mapping[str, Any], kind: str) -> bytes:
    """A document as a file.

    :param document: ``report`` or ``timeline``; ``data``: what it shows, as plain values.
    :param kind: ``pdf`` or ``png``.
    :raises HybridError: it cannot be set.
    """
    check_installed()
    request = json.dumps({"document": document, "data": data, "format": kind}).encode()
    variables = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(
            module_command(_PROGRAM),
            input=request,
            capture_output=True,
            env=module_environment(variables),
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HybridError(f"the {kind.upper()} was not ready after {_LONGEST_S} s", hint="choose HTML or SVG") from None
    if done.returncode != 0:
        lines = readable(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        problem = printable(shortened(lines[-1], _LONGEST_PROBLEM))
        raise HybridError(f"the {kind.upper()} could not be set: {problem}", hint="choose HTML or SVG")
    return done.stdout
