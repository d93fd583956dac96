# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Recorded answers of real queue systems (recordings/), and what a shell filter at the site would leave of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

RECORDINGS = Path(__file__).parent / "recordings"


def recorded(scheduler: str, case: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((RECORDINGS / scheduler / f"{case}.yaml").read_text())
    return found


def filtered(shell: str, text: str, cwd: Path | None = None) -> str:
    """What a filter (shell text that reads stdin) makes of a text."""
    done = subprocess.run(["sh", "-c", shell], input=text, capture_output=True, text=True, check=True, cwd=cwd)
    return done.stdout


def pbs_text(case: str) -> str:
    """A recorded answer of ``qstat -f`` as text, with the complaints and our line with the exit code."""
    answer = recorded("pbs", case)
    text = answer["stdout"]
    if "json" in case:
        lines = []
        for id_, attributes in json.loads(text).get("Jobs", {}).items():
            lines += [f"Job Id: {id_}", *(f"    {key} = {value}" for key, value in attributes.items()), ""]
        text = "\n".join(lines)
    return f"{text}\n{answer['stderr']}#exit {answer['exit_code']}\n"
