# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job may change its inputs where they are (InplaceUpdateRequirement): what was recorded of them is out of date."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import HybridError, JobFailedError
from airflow_hybrid.model import CwlObject, FileRef
from tests.unit.engine.execution import run_spec, spec_within
from tests.unit.sites.hosts.logins.one_time import OneTimeSite, serving

MAKE = """cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
inputs: []
arguments: [{valueFrom: 'mkdir d; echo one >f; echo one >f.idx; echo one >d/in', shellQuote: false}]
outputs:
  file: {type: File, secondaryFiles: [.idx], outputBinding: {glob: f}}
  folder: {type: Directory, outputBinding: {glob: d}}
"""
UPDATE = """cwlVersion: v1.2
class: CommandLineTool
requirements:
  ShellCommandRequirement: {}
  InplaceUpdateRequirement: {inplaceUpdate: true}
  InitialWorkDirRequirement:
    listing: [{entry: $(inputs.file), writable: true}, {entry: $(inputs.folder), writable: true}]
inputs:
  file: {type: File, secondaryFiles: [.idx], loadContents: true}
  folder: {type: Directory, loadListing: deep_listing}
  code: {type: int, default: 0}
arguments:
- {valueFrom: 'echo ran >>%s; echo two >f; echo two >f.idx; echo two >d/in; echo two >d/new', shellQuote: false}
- {valueFrom: '; exit $(inputs.code)', shellQuote: false}
outputs:
  file: {type: File, secondaryFiles: [.idx], outputBinding: {glob: f}}
  passed: {type: File, outputBinding: {outputEval: $(inputs.file)}}
  text: {type: string, outputBinding: {glob: f, loadContents: true, outputEval: '$(self[0].contents)'}}
  folder: {type: Directory, outputBinding: {glob: d}}
  member: {type: File, outputBinding: {glob: d/in}}
"""
READ = """cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
inputs:
  file: {type: File, loadContents: true}
  folder: {type: Directory, loadListing: deep_listing}
arguments:
- {valueFrom: 'cat $(inputs.file.path) $(inputs.folder.path)/*; printf %s "$(inputs.file.contents)"', shellQuote: false}
- {valueFrom: '; echo $(inputs.folder.listing.length)', shellQuote: false}
stdout: out
outputs: {out: stdout}
"""
FUSED = """cwlVersion: v1.2
class: Workflow
requirements: {SubworkflowFeatureRequirement: {}}
inputs: {}
outputs:
  file: {type: File, outputSource: all/file}
  out: {type: File, outputSource: all/out}
steps:
  all:
    in: {}
    out: [file, out]
    run:
      class: Workflow
      inputs: {}
      outputs: {file: {type: File, outputSource: update/file}, out: {type: File, outputSource: read/out}}
      steps:
        make: {in: {}, out: [file, folder], run: make.cwl}
        before: {in: {file: make/file, folder: make/folder}, out: [out], run: read.cwl}
        update: {in: {file: make/file, folder: make/folder, _after: before/out}, out: [file, folder], run: update.cwl}
        read: {in: {file: update/file, folder: update/folder}, out: [out], run: read.cwl}
"""
LOOP = """cwlVersion: v1.2
class: Workflow
$namespaces: {cwltool: "http://commonwl.org/cwltool#"}
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {file: File, n: int}
outputs: {file: {type: File, outputSource: add/file}}
steps:
  add:
    in: {file: file, n: n}
    out: [file, n]
    requirements:
      cwltool:Loop:
        loopWhen: $(inputs.n < 3)
        loop: {file: file, n: n}
        outputMethod: last
    run: add.cwl
"""
ADD = """cwlVersion: v1.2
class: CommandLineTool
requirements:
  ShellCommandRequirement: {}
  InlineJavascriptRequirement: {}
  InplaceUpdateRequirement: {inplaceUpdate: true}
  InitialWorkDirRequirement: {listing: [{entry: $(inputs.file), writable: true}]}
inputs: {file: {type: File, loadContents: true}, n: int}
arguments: [{valueFrom: 'printf %s%s $(inputs.n) "$(inputs.file.contents.trim())" >f', shellQuote: false}]
outputs:
  file: {type: File, outputBinding: {glob: f}}
  n: {type: int, outputBinding: {outputEval: $(inputs.n + 1)}}
"""
ONE, TWO = (f"sha1${hashlib.sha1(text).hexdigest()}" for text in (b"one\n", b"two\n"))


class Tasks:
    """Tasks at one site.

    :ivar site: the deployment; ``retries``: how often somebody asked that failed jobs be run again.
    """

    retries = 0
    run_id = "run"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site: dict[str, Any] = {"type": "local", "config": {}}
        self.record = folder / "record"
        texts = {"make": MAKE, "update": UPDATE % self.record, "read": READ, "fused": FUSED, "add": ADD, "loop": LOOP}
        for name, text in texts.items():
            (folder / f"{name}.cwl").write_text(text)

    def run(self, name: str, given: CwlObject, *, reuse: bool = False, try_number: int = 1) -> CwlObject:
        sites = {"site": {**self.site, "workdir": f"{self.folder}/site"}}
        made = TaskIdentity("dag", self.run_id, name, origin="first", try_number=try_number)
        spec = spec_within(self.folder / f"{name}.cwl", given, sites, {"/": {"target": "site"}}, made)
        outcome, _ = run_spec(replace(spec, reuse=reuse, reuse_asked=reuse, retries=self.retries))
        return outcome.results[0].outputs

    @property
    def updates(self) -> int:
        return len(self.record.read_text().splitlines())


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    return Tasks(tmp_path)


@pytest.fixture
def by_ssh(tasks: Tasks) -> Iterator[None]:
    """The site is reached by SSH."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    file = tasks.folder / "key"
    key.write_private_key(file)
    with serving(OneTimeSite(set(), key)) as site:
        node = {
            "hostname": f"127.0.0.1:{site.port}",
            "username": "anna",
            "sshKey": str(file),
            "host_key": site.host_key,
        }
        tasks.site = {"type": "ssh", "config": {"nodes": [node]}}
        yield


@pytest.mark.usefixtures("by_ssh")
def test_a_site_that_is_reached_by_ssh(tasks: Tasks) -> None:
    made = tasks.run("make", {})
    updated = tasks.run("update", _both(made))
    assert (updated["file"]["location"], updated["file"]["checksum"]) == (made["file"]["location"], TWO)
    assert updated["file"]["location"].startswith("hybrid://site/")
    assert tasks.run("update", _both(made), try_number=2) == updated
    assert tasks.updates == 1
    assert _text(tasks.run("read", _both(updated))["out"]) == "two\ntwo\ntwo\ntwo\n2\n"


def _both(outputs: CwlObject) -> CwlObject:
    return {"file": outputs["file"], "folder": outputs["folder"]}


def _text(file: CwlObject) -> str:
    return Path(FileRef.parse(file["location"]).path).read_text()


def test_the_outputs_are_described_as_the_job_has_left_them(tasks: Tasks) -> None:
    made = tasks.run("make", {})
    assert made["file"]["checksum"] == ONE
    updated = tasks.run("update", _both(made))
    for file in (updated["file"], updated["passed"]):
        assert (file["location"], file["size"], file["checksum"]) == (made["file"]["location"], 4, TWO)
        assert [entry["checksum"] for entry in file["secondaryFiles"]] == [TWO]
    assert updated["folder"]["location"] == made["folder"]["location"]
    assert updated["member"]["checksum"] == TWO
    assert updated["text"] == "two\n"
    assert _text(tasks.run("read", _both(updated))["out"]) == "two\ntwo\ntwo\ntwo\n2\n"


def test_steps_of_one_task_see_what_an_earlier_one_has_changed(tasks: Tasks) -> None:
    outputs = tasks.run("fused", {})
    assert outputs["file"]["checksum"] == TWO
    assert _text(outputs["out"]) == "two\ntwo\ntwo\ntwo\n2\n"


def test_each_iteration_sees_what_the_last_one_has_changed(tasks: Tasks) -> None:
    made = tasks.run("make", {})["file"]
    del made["secondaryFiles"]
    changed = tasks.run("loop", {"file": made, "n": 0})["file"]
    assert changed["checksum"] == "sha1$" + hashlib.sha1(b"210one").hexdigest()
    assert (changed["location"], changed["size"]) == (made["location"], 6)


def test_a_step_that_reads_the_file_of_before_is_told_which_output_to_use(tasks: Tasks) -> None:
    made = tasks.run("make", {})
    tasks.run("update", _both(made))
    with pytest.raises(HybridError) as caught:
        tasks.run("read", _both(made))
    file = made["file"]
    updated = (
        f"was updated in place by another step (InplaceUpdateRequirement) after it was produced: its checksum is {TWO}"
    )
    assert str(caught.value) == (
        "site (localhost): 2 files are not what was recorded:\n"
        f"  {file['location']} {updated}, not {ONE}\n"
        f"  {file['secondaryFiles'][0]['location']} {updated}, not {ONE}\n"
        "  -> steps after that step must use its output in place of this file"
    )
    assert not caught.value.retryable


def test_what_somebody_else_changes_later_is_still_told(tasks: Tasks) -> None:
    updated = tasks.run("update", _both(tasks.run("make", {})))
    path = Path(FileRef.parse(updated["folder"]["location"]).path)
    (path / "late").write_text("x")
    with pytest.raises(HybridError) as caught:
        tasks.run("read", _both(updated))
    assert str(caught.value) == (
        f"site (localhost): {updated['folder']['location']} was changed after it was produced: {path} is newer"
        " than its job\n  -> it was made by task make of run run of DAG dag: clear that task to make it again"
    )


def test_a_try_takes_over_a_job_that_has_changed_its_inputs_already(tasks: Tasks) -> None:
    given = _both(tasks.run("make", {}))
    first = tasks.run("update", given)
    assert tasks.run("update", given, try_number=2) == first
    assert tasks.updates == 1


def test_a_failed_job_is_not_run_again_on_what_it_has_changed(tasks: Tasks) -> None:
    made = tasks.run("make", {})
    given = {**_both(made), "code": 3}
    tasks.retries = 1
    with pytest.raises(JobFailedError) as failed:
        tasks.run("update", given)
    assert failed.value.retryable
    with pytest.raises(HybridError) as caught:
        tasks.run("update", given, try_number=2)
    file, folder = made["file"], made["folder"]
    folder_path = FileRef.parse(folder["location"]).path
    changed = "was changed after it was produced"
    assert str(caught.value) == (
        "site (localhost): 3 files are not what was recorded:\n"
        f"  {file['location']} {changed}: its checksum is {TWO}, not {ONE}\n"
        f"  {file['secondaryFiles'][0]['location']} {changed}: its checksum is {TWO}, not {ONE}\n"
        f"  {folder['location']} {changed}: {folder_path} is newer than its job\n"
        "  -> it was made by task make of run run of DAG dag: clear that task to make it again"
    )
    assert tasks.updates == 1


def test_a_job_does_not_begin_on_what_somebody_else_has_changed(tasks: Tasks) -> None:
    made = tasks.run("make", {})
    Path(FileRef.parse(made["file"]["location"]).path).write_text("six\n")
    with pytest.raises(HybridError) as caught:
        tasks.run("update", _both(made))
    assert str(caught.value).startswith(
        f"site (localhost): {made['file']['location']} was changed after it was produced: its checksum is sha1$"
    )
    assert not tasks.record.exists()


def test_a_job_that_has_changed_its_inputs_is_not_reused(tasks: Tasks) -> None:
    made = tasks.run("make", {})
    tasks.run("update", _both(made), reuse=True)
    tasks.run_id = "second"
    again = tasks.run("make", {})
    assert again["file"]["location"] != made["file"]["location"]
    assert _text(tasks.run("update", _both(again), reuse=True)["file"]) == "two\n"
    assert _text(again["file"]) == "two\n"
    assert tasks.updates == 2


def test_an_output_that_a_later_job_has_changed_is_not_reused(tasks: Tasks) -> None:
    made = tasks.run("make", {}, reuse=True)
    tasks.run("update", _both(made))
    tasks.run_id = "second"
    again = tasks.run("make", {}, reuse=True)
    assert _text(again["file"]) == "one\n"
