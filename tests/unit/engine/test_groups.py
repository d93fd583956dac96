# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Several steps in one task: a retry goes on at the step that failed, and messages and logs name the steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_bindings, parse_deployments
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.dag.fusing import Fusing
from airflow_hybrid.engine import FragmentOutcome, FragmentSpec, TaskIdentity
from airflow_hybrid.errors import CwlError, JobFailedError, TransferError
from airflow_hybrid.model import CHAINS, CwlObject, FileRef, Step
from airflow_hybrid.sites.hosts.base import Command, CommandResult
from airflow_hybrid.sites.hosts.local import LocalHost
from tests.unit.engine.execution import Log, run_spec

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {record: string, wrong: boolean}
outputs: {out: {type: File, outputSource: second/out}}
steps:
  first:
    in: {record: record}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo first >> "$0"; echo made']
      inputs: {record: {type: string, inputBinding: {}}}
      outputs: {out: stdout}
  reckon:
    in: {wrong: wrong, file: first/out}
    out: [text]
    run:
      class: ExpressionTool
      inputs: {wrong: boolean, file: File}
      outputs: {text: string}
      expression: "${if (inputs.wrong) { throw new Error('no'); } return {text: 'reckoned'}; }"
  second:
    in: {record: record, text: reckon/text, file: first/out}
    out: [out]
    run:
      class: CommandLineTool
      temporaryFailCodes: [75]
      baseCommand: [sh, -c, 'echo second >> "$0"; test -e "$0.ready" || exit 75; cat "$2"; echo "$1"']
      inputs:
        record: {type: string, inputBinding: {position: 1}}
        text: {type: string, inputBinding: {position: 2}}
        file: {type: File, inputBinding: {position: 3}}
      outputs: {out: stdout}
"""


class Runs:
    """Tries of the workflow's only task."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "record"
        self._document = folder / "main.cwl"
        self._document.write_text(WORKFLOW)
        self._sites = {"site": {"type": "local", "config": {}, "workdir": str(folder / "site")}}

    def run(self, *, wrong: bool = False, **identity: Any) -> tuple[FragmentOutcome, Log]:
        (step,) = self._steps(CHAINS)
        assert step.path == "/first__reckon__second"
        given: CwlObject = {"record": str(self.record), "wrong": wrong}
        return self._run(step, ("/first", "/second"), given, identity)

    def run_second(self, file: Path, *, wrong: bool = False, **identity: Any) -> tuple[FragmentOutcome, Log]:
        """The task of the last step, which has taken in the expression without being asked to."""
        first, step = self._steps(None)
        assert (first.path, step.path) == ("/first", "/second")
        entry = {"class": "File", "location": file.as_uri(), "basename": file.name}
        given: CwlObject = {"record": str(self.record), "wrong": wrong, "first__out": entry}
        return self._run(step, ("/second",), {name: given[name.removesuffix("_")] for name in _ports(step)}, identity)

    def _steps(self, fuse: str | None) -> tuple[Step, ...]:
        bindings = parse_bindings([{"step": "/", "target": "site", **({"fuse": fuse} if fuse else {})}])
        return Fusing(bindings, parse_deployments(self._sites)).graph_of(load_graph(str(self._document))).steps

    def _run(
        self, step: Step, leaves: tuple[str, ...], given: CwlObject, identity: dict[str, Any]
    ) -> tuple[FragmentOutcome, Log]:
        bindings = parse_bindings([{"step": "/", "target": "site"}])
        deployments = parse_deployments(self._sites)
        spec = FragmentSpec(
            step_path=step.path,
            leaves=leaves,
            document=document_of(step),
            instances=(given,),
            bindings=bindings,
            deployments=deployments,
            retries=1,
            identity=TaskIdentity("dag", "run", "task", **{"origin": "origin", **identity}),
        )
        return run_spec(replace(spec, reuse=False))

    @property
    def ran(self) -> list[str]:
        return self.record.read_text().split()


def _ports(step: Step) -> list[str]:
    return [port.name for port in step.inputs]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    return Runs(tmp_path)


def test_a_retry_goes_on_at_the_step_that_failed(runs: Runs) -> None:
    with pytest.raises(JobFailedError) as error:
        runs.run()
    assert error.value.retryable
    assert str(error.value).splitlines()[:2] == [
        "1 of 2 jobs failed",
        "/second at site (localhost): exit code 75 (temporaryFail)",
    ]
    assert runs.ran == ["first", "second"]
    runs.record.with_name("record.ready").touch()
    outcome, log = runs.run(try_number=2)
    assert runs.ran == ["first", "second", "second"]
    location = outcome.results[0].outputs["second__out"]["location"]
    assert Path(FileRef.parse(location).path).read_text() == "made\nreckoned\n"
    titles = [line.split(":")[0] for line in log.lines if " ended" in line]
    assert list(dict.fromkeys(titles)) == ["/first at site (localhost)", "/second at site (localhost)"]


def test_an_expression_that_fails_is_named(runs: Runs) -> None:
    with pytest.raises(CwlError) as error:
        runs.run(wrong=True)
    assert str(error.value) == "/first__reckon__second: /reckon: no"


def test_a_step_that_has_taken_in_an_expression_keeps_its_names_and_outputs(runs: Runs, tmp_path: Path) -> None:
    made = tmp_path / "made.txt"
    made.write_text("made\n")
    with pytest.raises(JobFailedError) as error:
        runs.run_second(made)
    assert str(error.value).splitlines()[:2] == [
        "the job failed",
        "/second at site (localhost): exit code 75 (temporaryFail)",
    ]
    runs.record.with_name("record.ready").touch()
    outcome, log = runs.run_second(made, try_number=2)
    assert list(outcome.results[0].outputs) == ["out"]
    location = outcome.results[0].outputs["out"]["location"]
    assert Path(FileRef.parse(location).path).read_text() == "made\nreckoned\n"
    titles = [line.split(":")[0] for line in log.lines if " ended" in line]
    assert list(dict.fromkeys(titles)) == ["/second at site (localhost)"]


def test_an_expression_that_a_step_has_taken_in_is_named_when_it_fails(runs: Runs, tmp_path: Path) -> None:
    made = tmp_path / "made.txt"
    made.write_text("made\n")
    with pytest.raises(CwlError) as error:
        runs.run_second(made, wrong=True)
    assert str(error.value) == "/second: /reckon: no"


IN_PLACE = """\
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {text: string}
outputs: {out: {type: File, outputSource: third/out}}
steps:
  first: {run: {class: CommandLineTool, baseCommand: [echo], inputs: {text: {type: string, inputBinding: {}}},
          outputs: {out: stdout}}, in: {text: text}, out: [out]}
  second:
    in: {file: first/out}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, '@SECOND@']
      inputs: {file: {type: File, inputBinding: {}}}
      outputs: {out: stdout}
  third:
    in: {file: first/out, other: second/out}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [cat]
      inputs: {file: {type: File, inputBinding: {}}, other: {type: File, inputBinding: {}}}
      outputs: {out: stdout}
"""


class _Commands:
    """Labels of the commands at the site."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.labels: list[str] = []
        run = LocalHost._run

        async def noted(host: LocalHost, command: Command) -> CommandResult:
            self.labels.append(command.label)
            return await run(host, command)

        patch.setattr(LocalHost, "_run", noted)


def run_in_place(folder: Path, second: str) -> FragmentOutcome:
    (folder / "main.cwl").write_text(IN_PLACE.replace("@SECOND@", second))
    bindings = parse_bindings([{"step": "/", "target": "site", "fuse": CHAINS}])
    deployments = parse_deployments({"site": {"type": "local", "config": {}, "workdir": str(folder / "site")}})
    (step,) = Fusing(bindings, deployments).graph_of(load_graph(str(folder / "main.cwl"))).steps
    identity = TaskIdentity("dag", "run", "task", origin="origin")
    leaves = tuple(leaf.path for leaf in step.leaves)
    spec = FragmentSpec(
        step.path, leaves, document_of(step), ({"text": "made"},), bindings, deployments, identity, reuse=False
    )
    return run_spec(spec)[0]


def test_what_a_step_has_just_made_is_examined_once_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("airflow_hybrid.engine.placing.just_made.FRESH_S", 600.0)
    commands = _Commands(monkeypatch)
    location = run_in_place(tmp_path, 'cat "$0"').results[0].outputs["third__out"]["location"]
    assert Path(FileRef.parse(location).path).read_text() == "made\nmade\n"
    # one of the outputs of each step, and one of the first step's file, which a job has used since
    assert commands.labels.count("probe of files") == 4


def test_a_file_that_a_step_has_changed_is_refused_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("airflow_hybrid.engine.placing.just_made.FRESH_S", 600.0)
    with pytest.raises(TransferError) as error:
        run_in_place(tmp_path, 'chmod u+w "$0"; echo more >>"$0"')
    message = str(error.value).splitlines()[0]
    assert message.endswith("was changed after it was produced: it has 10 bytes, not 5")
