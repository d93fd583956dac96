# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL's basic types are those of the installed cwltool.

``python -m tests.unit.cwl.test_basic_types`` writes them anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cwltool.process import get_schema

from airflow_hybrid.cwl import basic_types

FILE = Path(basic_types.__file__).with_suffix(".json")

FRAGMENT = """
import cwltool.process
from airflow_hybrid.cwl.jobs.runtime import load_process

tool = {"class": "CommandLineTool", "id": "#tool", "baseCommand": ["cat"], "outputs": [],
        "inputs": [{"id": "#tool/of", "type": ["null", "File"]}, {"id": "#tool/any", "type": ["null", "Any"]}]}
process = load_process({"class": "Workflow", "id": "#main", "inputs": [], "outputs": [], "steps": [
    {"id": "#main/step", "run": tool, "in": [], "out": []}]})
print(sorted(process.steps[0].embedded_tool.names.names), list(cwltool.process.SCHEMA_CACHE))
"""


def _without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_texts(entry) for key, entry in value.items() if not key.startswith("doc")}
    if isinstance(value, list):
        return [_without_texts(entry) for entry in value]
    return value


def _of_cwltool() -> dict[str, Any]:
    index = get_schema("v1.0")[3].idx
    return {name: _without_texts(index[name]) for name in basic_types.NAMES.values()}


def test_the_types_are_those_of_the_schema() -> None:
    assert json.loads(FILE.read_text()) == _of_cwltool()


def test_a_fragment_reads_no_schema() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENT], capture_output=True, text=True, check=True)
    names, schemas = done.stdout.strip().split("] ")
    assert "org.w3id.cwl.cwl.File" in names
    assert schemas == "[]"


if __name__ == "__main__":
    FILE.write_text(json.dumps(_of_cwltool(), indent=1) + "\n")
