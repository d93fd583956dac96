# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Of what is in a task directory, only what this task instance made, from these commands and inputs, is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentOutcome, TaskIdentity
from airflow_hybrid.errors import JobFailedError
from airflow_hybrid.model import FileRef
from tests.unit.engine.execution import run_spec, spec_of

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {{ShellCommandRequirement: {{}}}}
inputs: {{word: string}}
arguments:
- {{valueFrom: 'echo ran >> {record}; echo {text}', shellQuote: false}}
- $(inputs.word)
- {{valueFrom: '; exit {code}', shellQuote: false}}
outputs: {{out: stdout}}
"""
NESTED = """\
cwlVersion: v1.2
class: Workflow
requirements: {{SubworkflowFeatureRequirement: {{}}, ScatterFeatureRequirement: {{}}}}
inputs: {{word: 'string[]'}}
outputs: {{out: {{type: 'File[]', outputSource: inner/out}}}}
steps:
  inner:
    in: {{word: word}}
    scatter: word
    out: [out]
    run:
      class: Workflow
      inputs: {{word: string}}
      outputs: {{out: {{type: File, outputSource: say/out}}}}
      steps:
        say: {{in: {{word: word}}, out: [out], run: tool.cwl}}
"""


class Runs:
    """Tries of one task at one site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record"

    def run(
        self, *, text: str = "first", word: str = "word", code: int = 0, nested: bool = False, **identity: Any
    ) -> str:
        tool = self.folder / "tool.cwl"
        tool.write_text(TOOL.format(record=self.record, text=text, code=code))
        given: dict[str, Any] = {"word": word}
        if nested:
            tool = self.folder / "nested.cwl"
            tool.write_text(NESTED.format())
            given = {"word": [word]}
        site = {"site": {"type": "local", "config": {}, "workdir": str(self.folder / "site")}}
        made = TaskIdentity("dag", "run", "task", **{"origin": "first", **identity})
        spec = spec_of(tool, given, site, {"/": "site"}, made)
        return _text(run_spec(replace(spec, reuse=False))[0])

    @property
    def ran(self) -> int:
        return len(self.record.read_text().splitlines()) if self.record.exists() else 0


def _text(outcome: FragmentOutcome) -> str:
    out = outcome.results[0].outputs["out"]
    file = out[0] if isinstance(out, list) else out
    return Path(FileRef.parse(file["location"]).path).read_text()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    return Runs(tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_try_takes_what_the_last_one_made(runs: Runs, nested: bool) -> None:
    assert runs.run(nested=nested) == runs.run(nested=nested, try_number=2) == "first word\n"
    assert runs.ran == 1


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("change", [{"text": "second"}, {"word": "other"}], ids=["tool", "input"])
def test_a_try_with_an_edited_tool_or_other_inputs_runs(runs: Runs, change: dict[str, Any], nested: bool) -> None:
    assert runs.run(nested=nested) == "first word\n"
    expected = f"{change.get('text', 'first')} {change.get('word', 'word')}\n"
    assert runs.run(nested=nested, try_number=2, **change) == expected
    assert runs.run(nested=nested, try_number=3) == "first word\n"
    assert runs.ran == 2


def test_a_run_of_the_same_name_has_a_place_of_its_own(runs: Runs) -> None:
    runs.run()
    assert runs.run(origin="second") == "first word\n"
    assert runs.ran == 2
    (places,) = {path.parent for path in runs.folder.glob("site/dag/run/task/g0-*")}
    assert len(list(places.iterdir())) == 2


def test_a_permanent_failure_is_that_of_its_document_and_inputs(runs: Runs) -> None:
    with pytest.raises(JobFailedError):
        runs.run(code=1)
    with pytest.raises(JobFailedError, match="an earlier try failed for good"):
        runs.run(code=1, try_number=2)
    assert runs.ran == 1
    assert runs.run(code=0, try_number=2) == "first word\n"
    with pytest.raises(JobFailedError, match="an earlier try failed for good"):
        runs.run(code=1, try_number=2)
    assert runs.ran == 2
