# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The outputs of runs in Airflow's web server: who gets them, and which files they can be."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import pytest

from tests.unit.web.served import Answer, Served, served

DOCUMENT = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}, InlineJavascriptRequirement: {}}
baseCommand: []
arguments:
  - shellQuote: false
    valueFrom: >-
      printf report > report.txt; mkdir -p all/deep all/empty; printf a > all/a; printf b > "all/deep/x y";
      printf odd > '<b>"&\u202etxt.exe'; head -c 3000000 /dev/zero > large;
      printf '<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>' > drawing.svg
inputs: []
outputs:
  report: {type: File, outputBinding: {glob: report.txt}}
  all: {type: Directory, outputBinding: {glob: all}}
  odd: {type: File, outputBinding: {glob: "*.exe"}}
  large: {type: File, outputBinding: {glob: large}}
  drawing: {type: File, outputBinding: {glob: drawing.svg}}
  nothing: {type: File?, outputBinding: {glob: nothing}}
  number: {type: string, outputBinding: {outputEval: "$('<script>1</script>')"}}
"""
DAG = "made"
NO_PICTURE = "this output is no picture that can be shown; download it"


@dataclass(frozen=True)
class Run:
    """A finished run, and the web application that shows it."""

    web: Served
    run_id: str
    outdir: Path

    @property
    def path(self) -> str:
        return f"/airflow_hybrid/dags/{DAG}/dagRuns/{quote(self.run_id, safe='')}/outputs"

    def listed(self) -> Any:
        """The outputs, as the run page lists them."""
        return json.loads(self.web.get(f"{self.path}/list").body)

    def keys(self) -> dict[str, str]:
        """Path of each output -> its key."""
        return {file["path"]: file["key"] for output in self.listed()["outputs"] for file in output["files"]}

    def get(self, path: str) -> Answer:
        """What the link in the run page gives."""
        return self.web.get(f"{self.path}/{self.keys()[path]}")

    def set(self, key: str, value: Any) -> None:
        self.web.ask("set_xcom", dag_id=DAG, run_id=self.run_id, key=key, value=value)

    def value(self) -> Any:
        return self.web.ask("xcom", dag_id=DAG, run_id=self.run_id, key="return_value")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags" / "made.cwl").write_text(DOCUMENT)
    (home / "dags" / "made.py").write_text(
        "from airflow_hybrid import HybridDag\n"
        f"made = HybridDag('made.cwl', dag_id={DAG!r}, outdir={str(home / 'results')!r},\n"
        "    assets={'report': 'file:///made/report', 'large': 's3://made/{{ run_id }}', 'nothing': 'file:///nothing'})\n"
    )
    with served(home) as application:
        yield application


def new_run(web: Served) -> Run:
    run_id, state = web.ask("run", file=str(web.home / "dags" / "made.py"), dag_id=DAG)
    assert state == "success"
    return Run(web, run_id, web.home / "results" / run_id)


@pytest.fixture(scope="module")
def run(web: Served) -> Run:
    return new_run(web)


@pytest.fixture(scope="module")
def spoiled(web: Served) -> Run:
    """Another run, whose outputs tests may change."""
    return new_run(web)


@pytest.fixture
def edited(run: Run) -> Iterator[Run]:
    """The run, whose XComs a test may edit."""
    before = run.value()
    yield run
    run.set("return_value", before)
    run.set("outdir", str(run.outdir))


def members(answer: Answer) -> dict[str, bytes | None]:
    """The files and folders (None) of a tar stream."""
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        contents: dict[str, bytes | None] = {}
        for member in tar:
            file = tar.extractfile(member)
            contents[member.name] = file.read() if file else None
        return contents


def test_the_link_of_the_task_and_those_of_earlier_versions_lead_to_the_run_page(run: Run) -> None:
    page = run.path.removesuffix("outputs") + "page"
    answer = run.web.get(run.path)
    assert (answer.status, urljoin(run.path, answer.headers["location"])) == (307, f"{page}#outputs")
    link = run.web.ask("xcom", dag_id=DAG, run_id=run.run_id, key="_link_OutputsLink")
    assert link.endswith(f"{page}#outputs")
    assert b'<section id="outputs"' in run.web.get(page).body


def test_values_that_are_no_files_are_listed_as_text(run: Run) -> None:
    values = {output["name"]: output["value"] for output in run.listed()["outputs"] if not output["count"]}
    assert values["number"] == "<script>1</script>"


def test_a_file_is_sent_as_it_is_and_as_nothing_that_a_browser_runs(run: Run) -> None:
    answer = run.get("report.txt")
    assert (answer.status, answer.body) == (200, b"report")
    assert answer.headers["content-disposition"] == "attachment; filename=\"report.txt\"; filename*=UTF-8''report.txt"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert run.get("large").body == bytes(3_000_000)


def test_outputs_are_looked_at_in_the_page(run: Run) -> None:
    assert (run.listed()["problem"], run.listed()["outdir"]) == ("", str(run.outdir))
    listed = run.keys()
    assert len(listed) == 9 and set(listed) >= {"report.txt", "all/deep", '<b>"&\u202etxt.exe'}
    preview = json.loads(run.web.get(f"{run.path}/{listed['report.txt']}/preview").body)
    assert preview == {"name": "report.txt", "size": 6, "is_cut": False, "kind": "text", "text": "report"}
    large = json.loads(run.web.get(f"{run.path}/{listed['large']}/preview").body)
    assert (large["kind"], large["why"], large["size"]) == ("none", "it is not text", 3_000_000)
    for path, problem in (("all", "this output is a folder; download it"), ("large", NO_PICTURE)):
        answer = run.web.get(f"{run.path}/{listed[path]}/picture")
        assert (answer.status, answer.detail) == (404, problem)


def test_a_picture_that_is_opened_by_itself_can_run_nothing(run: Run) -> None:
    answer = run.web.get(f"{run.path}/{run.keys()['drawing.svg']}/picture")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
    )


def test_a_hostile_name_is_one_visible_name(run: Run) -> None:
    odd = run.get('<b>"&\u202etxt.exe')
    assert odd.body == b"odd"
    assert odd.headers["content-disposition"] == (
        "attachment; filename=\"<b>_&_txt.exe\"; filename*=UTF-8''%3Cb%3E_%26_txt.exe"
    )


def test_a_folder_is_sent_as_a_tar_stream_with_its_empty_folders(run: Run) -> None:
    answer = run.get("all")
    assert members(answer) == {"all": None, "all/a": b"a", "all/deep": None, "all/deep/x y": b"b", "all/empty": None}
    everything = members(run.web.get(run.path + "/archive"))
    assert everything["report.txt"] == b"report" and everything["all/deep/x y"] == b"b" and len(everything) == 9


def test_who_edits_xcoms_gets_no_other_file_of_the_api_server(edited: Run) -> None:
    value = edited.value()
    for location in ("file:///etc/hostname", f"file://{edited.outdir}/../../airflow.cfg", "file:///"):
        value["report"]["location"] = location
        edited.set("return_value", value)
        for outdir in (str(edited.outdir), "/", "/etc", str(edited.outdir.parent)):
            edited.set("outdir", outdir)
            answers = [edited.web.get(f"{edited.path}/{key}") for key in edited.keys().values()]
            sent = {answer.body for answer in answers if answer.status == 200 and len(answer.body) < 1000}
            assert sent <= {b"odd", b"a", b"b", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'}
            assert all(answer.status in (200, 409, 404) for answer in answers)


def test_the_record_of_another_run_proves_nothing(edited: Run, spoiled: Run) -> None:
    edited.set("return_value", spoiled.value())
    edited.set("outdir", str(spoiled.outdir))
    assert edited.get("report.txt").status == 409


def test_what_the_api_server_cannot_reach_is_said(edited: Run) -> None:
    run, elsewhere = edited, edited.outdir.with_name("elsewhere")
    run.outdir.rename(elsewhere)
    problem = (
        f"this API server cannot read the run's outputs in {run.outdir}: No such file or directory."
        " They are on the machine of the worker that ran task 'outputs'; to have them here, both must see"
        " the same folder under the same path"
    )
    listed = run.listed()
    elsewhere.rename(run.outdir)
    assert listed["problem"] == problem
    run.set("outdir", "s3://bucket/results")
    archive = run.web.get(run.path + "/archive")
    problem = "the outputs are in an object store, below s3://bucket/results: get them from there"
    assert (archive.status, archive.detail) == (404, problem)


def test_a_run_without_outputs_and_an_unknown_key_are_told(run: Run) -> None:
    answer = run.web.get(f"{run.path}/0123456789abcdef")
    assert (answer.status, answer.detail) == (404, "the run has no such output; open the list of its outputs again")
    unknown = run.web.get(run.path.replace(quote(run.run_id, safe=""), "none") + "/list")
    assert unknown.status == 404 and f"DAG {DAG} has no run none" in unknown.body.decode()
    assert run.web.get(f"{run.path}/..%2f..%2fetc%2fpasswd").status == 404


def test_a_run_that_has_succeeded_gives_the_assets_of_its_outputs_their_events(run: Run) -> None:
    value = run.value()
    about = {name: {key: value[name][key] for key in ("location", "checksum", "size")} for name in ("report", "large")}
    assert run.web.ask("events", dag_id=DAG, run_id=run.run_id) == [
        ["file:///made/report", {"output": "report", "class": "File", **about["report"], "files": [about["report"]]}],
        [f"s3://made/{run.run_id}", {"output": "large", "class": "File", **about["large"], "files": [about["large"]]}],
    ]


def test_a_link_in_the_place_of_an_output_or_of_its_folder_is_not_followed(spoiled: Run, tmp_path: Path) -> None:
    run = spoiled
    secret = tmp_path / "deep"
    secret.mkdir()
    (secret / "x y").write_text("secret")
    (run.outdir / "report.txt").unlink()
    (run.outdir / "report.txt").symlink_to(secret / "x y")
    (run.outdir / "all/deep").rename(run.outdir / "all/moved")
    (run.outdir / "all/deep").symlink_to(secret)
    unproved = (
        "{} is not what the run put there: it was there before, or has been changed or replaced since."
        " It is not sent; it can be read on the machine that has it"
    )
    for name in ("report.txt", "all/deep/x y"):
        answer = run.get(name)
        assert (answer.status, answer.detail) == (409, unproved.format(run.outdir / name))
    archive = run.web.get(run.path + "/archive")
    assert archive.status == 409 and b"secret" not in archive.body


def test_a_changed_file_is_not_sent_as_the_runs_output(spoiled: Run) -> None:
    large = spoiled.outdir / "large"
    before = large.stat()
    with large.open("r+") as file:
        file.write("x")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert spoiled.get("large").status == 409
    large.unlink()
    answer = spoiled.get("large")
    assert (answer.status, answer.detail) == (404, f"{large} has been removed since the run ended")
