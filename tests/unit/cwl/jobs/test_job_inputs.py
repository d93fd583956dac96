# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Inputs of a job: used where they are, linked, written or copied into its working directory."""

from __future__ import annotations

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import SiteFacts, StageEntry
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.jobs.pending_jobs import DIR, ONE, TOOL, file, pending


def test_an_input_with_its_own_name_is_used_where_it_is(bench: Bench) -> None:
    script = pending(bench, ONE, {"x": file()}).build(DIR, {file()["location"]: "/store/1/a.txt"}, SiteFacts())
    assert script.command == ("tool", "/store/1/a.txt")
    assert script.stage == ()
    assert (script.outdir, script.tmpdir, script.shell) == (f"{DIR}/out", f"{DIR}/tmp", False)
    assert script.environment == {"HOME": f"{DIR}/out", "TMPDIR": f"{DIR}/tmp"}


def test_an_input_with_another_name_appears_by_a_link(bench: Bench) -> None:
    script = pending(bench, ONE, {"x": file()}).build(DIR, {file()["location"]: "/store/4f2c"}, SiteFacts())
    assert script.command == ("tool", f"{DIR}/in/1/a.txt")
    assert script.stage == (
        StageEntry("mkdir", f"{DIR}/in"),
        StageEntry("mkdir", f"{DIR}/in/1"),
        StageEntry("link", f"{DIR}/in/1/a.txt", "/store/4f2c"),
    )


SECOND = file("a.txt.idx")


@pytest.mark.parametrize(
    ("paths", "links"),
    [(("/store/1/a.txt", "/store/1/a.txt.idx"), 0), (("/store/1/a.txt", "/store/2/a.txt.idx"), 2)],
)
def test_secondary_files_lie_beside_their_primary(bench: Bench, paths: tuple[str, str], links: int) -> None:
    text = ONE.replace("type: File,", "type: File, secondaryFiles: [.idx],")
    job = pending(bench, text, {"x": file(secondaryFiles=[SECOND])})
    locations = [item["location"] for item in job.files()]
    assert locations == [file()["location"], SECOND["location"]]
    script = job.build(DIR, dict(zip(locations, paths, strict=True)), SiteFacts())
    targets = [entry.target for entry in script.stage if entry.kind == "link"]
    assert targets == [f"{DIR}/in/1/a.txt", f"{DIR}/in/1/a.txt.idx"][:links]


def test_a_missing_secondary_file_is_an_error_that_names_it(bench: Bench) -> None:
    job = pending(bench, ONE.replace("type: File,", "type: File, secondaryFiles: [.idx],"), {"x": file()})
    with pytest.raises(CwlError, match=r"secondary file 'a\.txt\.idx'"):
        job.build(DIR, {file()["location"]: "/store/a.txt"}, SiteFacts())


def test_a_literal_is_written(bench: Bench) -> None:
    script = pending(bench, ONE, {"x": {"class": "File", "basename": "l", "contents": "hé"}}).build(
        DIR, {}, SiteFacts()
    )
    assert script.stage[-1] == StageEntry("file", f"{DIR}/in/1/l", None, "hé".encode())


def test_a_directory_literal_is_made_of_its_entries(bench: Bench) -> None:
    listing = [file("b"), {"class": "Directory", "basename": "sub", "listing": []}]
    job = pending(
        bench, ONE.replace("File", "Directory"), {"x": {"class": "Directory", "basename": "d", "listing": listing}}
    )
    assert [item["basename"] for item in job.files()] == ["b"]
    stage = job.build(DIR, {listing[0]["location"]: "/s/9"}, SiteFacts()).stage
    assert [(entry.kind, entry.target[len(DIR) :]) for entry in stage[2:]] == [
        ("mkdir", "/in/1/d"),
        ("link", "/in/1/d/b"),
        ("mkdir", "/in/1/d/sub"),
    ]


def test_the_tools_default_file_is_among_its_files(bench: Bench) -> None:
    bench.write("d.txt", "data")
    job = pending(bench, ONE.replace("type: File,", "type: File, default: {class: File, location: d.txt},"), {})
    (item,) = job.files()
    assert (item["location"], item["size"]) == ((bench.folder / "d.txt").as_uri(), 4)


@pytest.mark.parametrize("name", ["../../../home/me/.profile", "..", "a/b"])
def test_a_name_that_is_a_path_is_refused(bench: Bench, name: str) -> None:
    fragment = bench.fragment(ONE)
    run = fragment.start([{"x": {**file(), "basename": name}}], name="t")
    assert run.pump() == []
    assert "is not the name of a File" in run.results()[0].message


WORKDIR = (
    TOOL
    + """\
inputs: {x: File, d: Directory}
outputs: {}
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - entryname: sub/script.sh
        entry: "echo $(inputs.x.basename)"
      - entryname: renamed
        entry: $(inputs.x)
        writable: true
      - $(inputs.d)
arguments: [$(inputs.x.path), $(inputs.d.path)]
"""
)


def test_an_initial_work_dir_becomes_entries_to_stage(bench: Bench) -> None:
    folder = {"class": "Directory", "location": "hybrid://hpc/node1/data/d", "basename": "d"}
    job = pending(bench, WORKDIR, {"x": file(), "d": folder})
    script = job.build(DIR, {file()["location"]: "/s/a.txt", folder["location"]: "/s/d"}, SiteFacts())
    assert script.stage == (
        StageEntry("mkdir", f"{DIR}/out/sub"),
        StageEntry("file", f"{DIR}/out/sub/script.sh", None, b"echo a.txt"),
        StageEntry("copy", f"{DIR}/out/renamed", "/s/a.txt"),
        StageEntry("link", f"{DIR}/out/d", "/s/d"),
    )
    assert script.command == ("tool", f"{DIR}/out/renamed", f"{DIR}/out/d")


def test_two_inputs_with_one_name_cannot_be_staged_together(bench: Bench) -> None:
    text = TOOL + (
        "inputs: {a: File, b: File}\noutputs: {}\n"
        "requirements: {InitialWorkDirRequirement: {listing: [$(inputs.a), $(inputs.b)]}}\n"
    )
    other = file(place="hybrid://hpc/node1/other")
    job = pending(bench, text, {"a": file(), "b": other})
    with pytest.raises(CwlError, match="two inputs would be staged"):
        job.build(DIR, {file()["location"]: "/s/1", other["location"]: "/s/2"}, SiteFacts())
