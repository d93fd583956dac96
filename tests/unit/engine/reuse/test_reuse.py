# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""WorkReuse: the same job need not run again; another one, or one whose outputs have changed, runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentOutcome, FragmentSpec, TaskIdentity
from airflow_hybrid.errors import JobFailedError
from airflow_hybrid.model import FileRef
from tests.unit.engine.execution import Log, run_spec, spec_of

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
id: {id}
requirements:
  InlineJavascriptRequirement: {{}}
  ShellCommandRequirement: {{}}
{requirements}
inputs:
  text: File
  word: string
  folder: Directory?
arguments:
- {{valueFrom: 'echo ran >> {record}; cat', shellQuote: false}}
- $(inputs.text.path)
- {{valueFrom: '; mkdir tree; echo', shellQuote: false}}
- $(inputs.word){more}
- {{valueFrom: '| tee tree/word', shellQuote: false}}
outputs:
  out: stdout
  tree: {{type: Directory, outputBinding: {{glob: tree}}}}
stdout: out.txt
"""


@dataclass(frozen=True)
class Run:
    """One run of the tool; what is not said is as in every other.

    :ivar id: of the tool.
    :ivar requirements: of the tool, and what is ``more`` in its arguments.
    :ivar folder: another input.
    :ivar reuse: whether it may take what others made; ``asked``: whether it is asked to.
    """

    id: str = "tool"
    requirements: str = ""
    more: str = ""
    word: str = "word"
    folder: Path | None = None
    binding: dict[str, Any] = field(default_factory=dict)
    deployment: dict[str, Any] = field(default_factory=dict)
    reuse: bool = True
    asked: bool | None = True
    run_id: str | None = None


class Site:
    """A place of work, and how often a job ran there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record"
        self.text = folder / "text.txt"
        self.text.write_text("text\n")
        self._runs = itertools.count()

    def run(self, run: Run = Run()) -> tuple[FragmentOutcome, Log]:
        return run_spec(self.spec(run))

    def spec(self, run: Run) -> FragmentSpec:
        document = self.folder / f"{run.id}.cwl"
        text = TOOL.format(id=run.id, requirements=run.requirements, more=run.more, record=self.record)
        document.write_text(text)
        given: dict[str, Any] = {"text": {"class": "File", "path": str(self.text)}, "word": run.word}
        if run.folder is not None:
            given["folder"] = {"class": "Directory", "path": str(run.folder)}
        site = {"type": "local", "config": {}, "workdir": str(self.folder / "site"), **run.deployment}
        bindings = {"/": {"target": "site", **run.binding}}
        run_id = run.run_id or f"run{next(self._runs)}"
        identity = TaskIdentity("dag", run_id, run.id, generation=0, origin="origin")
        spec = spec_of(document, given, {"site": site}, bindings, identity)
        return replace(spec, reuse=run.reuse, reuse_asked=run.asked)

    @property
    def ran(self) -> int:
        return len(self.record.read_text().splitlines()) if self.record.exists() else 0


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    return Site(tmp_path)


def path_of(outcome: FragmentOutcome, port: str = "out") -> Path:
    return Path(FileRef.parse(outcome.results[0].outputs[port]["location"]).path)


def test_the_same_job_in_another_run_takes_the_outputs_of_the_first(site: Site) -> None:
    first, _ = site.run()
    second, log = site.run()
    assert site.ran == 1
    assert second.results == first.results
    assert path_of(second).read_text() == "text\nword\n"
    assert "1 of 1 jobs are the same as finished jobs" in log.text
    reused = [entry for entry in second.lineage if entry.route == "reused"]
    assert len(reused) == 1 and reused[0].reused and reused[0].checksum
    assert not [entry for entry in second.lineage if entry.route == "produced"]


def test_the_same_tool_in_another_document_is_the_same_job(site: Site) -> None:
    site.run(Run(id="one"))
    site.run(Run(id="two"))
    assert site.ran == 1


def test_a_file_with_the_same_content_elsewhere_is_the_same_input(site: Site, tmp_path: Path) -> None:
    site.run()
    (tmp_path / "elsewhere").mkdir()
    site.text = tmp_path / "elsewhere" / "text.txt"
    site.text.write_text("text\n")
    site.run()
    assert site.ran == 1


Change = Callable[[Site], Run]


def changed_input(site: Site) -> Run:
    site.text.write_text("tExt\n")
    return Run()


def renamed_input(site: Site) -> Run:
    site.text = site.text.rename(site.folder / "other.txt")
    return Run()


def with_folder(site: Site) -> Run:
    folder = site.folder / "folder"
    folder.mkdir(exist_ok=True)
    return Run(folder=folder)


def other_workdir(site: Site) -> Run:
    return Run(binding={"target": {"deployment": "site", "workdir": str(site.folder / "other")}})


@pytest.mark.parametrize(
    "change",
    [
        changed_input,
        renamed_input,
        with_folder,
        lambda _: Run(word="other"),
        lambda _: Run(more="x"),
        lambda _: Run(requirements="  EnvVarRequirement: {envDef: {A: b}}"),
        lambda _: Run(requirements="  WorkReuse: {enableReuse: false}"),
        lambda _: Run(requirements="  WorkReuse: {enableReuse: '$(inputs.word.length > 9)'}"),
        lambda _: Run(requirements="  NetworkAccess: {networkAccess: true}"),
        lambda _: Run(binding={"reuse": False}),
        lambda _: Run(reuse=False),
        other_workdir,
    ],
    ids=[
        "content", "name", "directory", "word", "command", "environment", "off", "off-by-expression", "network",
        "off-by-binding", "off-by-switch-or-clear", "other-site",
    ],
)  # fmt: skip
def test_what_is_not_the_same_runs(site: Site, change: Change) -> None:
    site.run()
    site.run(change(site))
    assert site.ran == 2


ASKS = "  WorkReuse: {enableReuse: true}"
NETWORK = "\n  NetworkAccess: {networkAccess: true}"


@pytest.mark.parametrize(
    ("said", "reused"),
    [
        ({}, False),
        ({"asked": True}, True),
        ({"deployment": {"reuse": True}}, True),
        ({"binding": {"reuse": True}}, True),
        ({"requirements": ASKS}, True),
        ({"requirements": ASKS + NETWORK}, True),
        ({"requirements": NETWORK[1:], "asked": True, "binding": {"reuse": True}}, False),
        ({"asked": False, "requirements": ASKS}, False),
        ({"asked": True, "deployment": {"reuse": False}}, False),
        ({"asked": False, "deployment": {"reuse": True}}, True),
        ({"deployment": {"reuse": True}, "binding": {"reuse": False}}, False),
        ({"asked": False, "deployment": {"reuse": False}, "binding": {"reuse": True}}, True),
        ({"asked": True, "binding": {"reuse": True}, "requirements": ASKS.replace("true", "false")}, False),
    ],
)
def test_outputs_are_reused_where_it_is_asked_for(site: Site, said: dict[str, Any], reused: bool) -> None:
    run = Run(**{"asked": None, **said})
    site.run(run)
    site.run(run)
    assert site.ran == (1 if reused else 2)


def test_a_directory_is_known_by_what_is_in_it(site: Site) -> None:
    run = with_folder(site)
    file = site.folder / "folder" / "file"
    for content, ran in (("a", 1), ("a", 1), ("b", 2), ("a", 2)):
        file.write_text(content)
        site.run(run)
        assert site.ran == ran
    (site.folder / "folder" / "more").write_text("")
    site.run(run)
    assert site.ran == 3


def gone(first: FragmentOutcome) -> None:
    path_of(first).unlink()


def other_size(first: FragmentOutcome) -> None:
    path_of(first).write_text("longer than it was")


def other_content(first: FragmentOutcome) -> None:
    path_of(first).write_text("TEXT\nword\n")


def more_in_the_tree(first: FragmentOutcome) -> None:
    (path_of(first, "tree") / "more").write_text("")


def less_in_the_tree(first: FragmentOutcome) -> None:
    (path_of(first, "tree") / "word").unlink()


@pytest.mark.parametrize("harm", [gone, other_size, other_content, more_in_the_tree, less_in_the_tree])
def test_outputs_that_have_changed_are_not_reused(site: Site, harm: Callable[[FragmentOutcome], None]) -> None:
    first, _ = site.run()
    harm(first)
    second, _ = site.run()
    assert site.ran == 2
    assert path_of(second).read_text() == "text\nword\n"
    site.run()
    assert site.ran == 2, "the new outputs are the record now"


def test_an_input_that_is_not_what_it_is_said_to_be_runs(site: Site) -> None:
    site.run()
    spec = site.spec(Run())
    site.text.write_text("tExt\n")
    run_spec(spec)
    assert site.ran == 2


def test_records_that_a_site_makes_up_are_not_believed(site: Site) -> None:
    first, _ = site.run()
    records = site.folder / "site" / "reuse"
    (record,) = records.glob("*/r.*")
    good = record.read_text()
    key = good.partition(" ")[0]
    secret = site.folder / "secret"
    secret.write_text("text\nword\n")
    for made_up in (
        good.replace(f'"path":"{path_of(first)}"', f'"path":"{path_of(first)}","location":"file:///etc/passwd"'),
        good.replace(f'"path":"{path_of(first)}"', '"path":"/etc/passwd"'),
        good.replace('"outputs":{', '"outputs":{"more":1,'),
        good[:40],
        good[:90],
        f"{key} []\n",
        f'{key} {{"key": 1}}\n',
        "\0",
    ):
        assert made_up != good
        for other in records.glob("*/r.*"):
            other.unlink()
        record.write_text(made_up)
        before = site.ran
        outcome, _ = site.run()
        assert site.ran == before + 1
        assert set(outcome.results[0].outputs) == {"out", "tree"}


def test_a_task_that_began_a_job_itself_finds_its_own(site: Site) -> None:
    first, _ = site.run(Run(run_id="a", reuse=False))
    again, log = site.run(Run(run_id="a"))
    assert site.ran == 1
    assert "an earlier attempt has 1 job in" in log.text or "submitted" in log.text
    assert path_of(again) == path_of(first)


def test_failed_jobs_are_not_recorded(site: Site) -> None:
    for _ in range(2):
        with pytest.raises(JobFailedError):
            site.run(Run(more="\n- {valueFrom: '; kill -9 $$', shellQuote: false}"))
    assert not list((site.folder / "site").glob("reuse/*/*"))
