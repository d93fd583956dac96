# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Every value is quoted once: real jobs get it as it is, wherever it comes in, and no shell runs any of it.

The same at SSH hosts and queues: ``tests/system/at_sites/test_hostile_values.py``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.engine import TaskIdentity
from tests.unit.engine.execution import run_spec, spec_of

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  EnvVarRequirement: {envDef: {VALUE: $(inputs.value)}}
  InitialWorkDirRequirement:
    listing:
      - {entryname: "entry $(inputs.name)", entry: $(inputs.value)}
      - {entryname: "in $(inputs.name)", entry: $(inputs.file)}
baseCommand: [sh, -c, 'printf "%s" "$1"; printf "%s" "$VALUE" > env; cat > stdin; cat "in $2" > named', sh]
stdin: $(inputs.file.path)
stdout: "out $(inputs.name)"
inputs:
  value: {type: string, inputBinding: {position: 1}}
  name: {type: string, inputBinding: {position: 2}}
  file: File
outputs:
  made: {type: 'File[]', outputBinding: {glob: "*", loadContents: true, outputEval: $(self)}}
"""
HOSTILE = [
    "a b  c",
    "$(touch PWNED)",
    "`touch PWNED`",
    "'; touch PWNED; '",
    '"; touch PWNED; "',
    "$HOME ${HOME} $((1+1))",
    "-rf",
    "~root",
    "*",
    "a\nb",
    "\\n\\'\\\"",
    "a && touch PWNED || touch PWNED",
    "a & touch PWNED | touch PWNED > PWNED",
    "{a,b} [ab] ? !! #x %s %n",
]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: values become file names, which have at most 255 bytes."""
    with tempfile.TemporaryDirectory(prefix="q") as folder:
        yield Path(folder)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_arrives_as_it_is_and_runs_nothing(tmp_path: Path, short: Path, value: str) -> None:
    tool = tmp_path / "tool.cwl"
    tool.write_text(TOOL)
    value = value.replace("PWNED", str(short / "PWNED"))
    name = value.replace("/", "_")
    (tmp_path / name).write_text(value)
    given = {"value": value, "name": name, "file": {"class": "File", "path": str(tmp_path / name)}}
    work = {"work": {"type": "local", "workdir": str(tmp_path / "work $(touch PWNED)")}}
    identity = TaskIdentity("dag", "run", "task", origin="origin")
    spec = spec_of(tool, given, work, {"/": "work"}, identity)
    outcome, log = run_spec(replace(spec, reuse=False))
    (result,) = outcome.results
    assert result.status == "success", (result.message, log.text)
    names = sorted(item["basename"] for item in result.outputs["made"])
    assert names == sorted(["env", "stdin", "named", f"entry {name}", f"in {name}", f"out {name}"]), json.dumps(names)
    for path in (tmp_path / "work $(touch PWNED)").rglob("out/*"):
        assert path.read_text() == value, path.name
    assert not list(tmp_path.rglob("PWNED")) and not list(short.iterdir())
