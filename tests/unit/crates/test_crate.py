# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Crates of runs: what they say, and which files they have copies of."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.crates.crate import CrateOptions, WrittenCrate, write_crate
from airflow_hybrid.crates.facts import JobValues, RunFacts
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.cwl.documents.packing import packed_document
from airflow_hybrid.errors import HybridError, TransferError
from airflow_hybrid.model import Source
from airflow_hybrid.model.jobs import JobState
from airflow_hybrid.overviews.replays import MadeAgain, RenewedFile, Replay, RunReplays
from airflow_hybrid.sites.files.nofollow import opened
from tests.unit.crates.facts import file_at, hello, record


def written(tmp_path: Path, facts: RunFacts, options: CrateOptions | None = None) -> tuple[WrittenCrate, Any]:
    """The crate of a run, and its entities by id."""
    crate = write_crate(facts, str(tmp_path / "run.zip"), opened, options or CrateOptions())
    with zipfile.ZipFile(crate.path) as archive:
        assert archive.testzip() is None
        metadata = json.loads(archive.read("ro-crate-metadata.json"))
    return crate, {entity["@id"]: entity for entity in metadata["@graph"]}


def of_type(entities: dict[str, Any], kind: str) -> list[Any]:
    return [
        entity
        for entity in entities.values()
        if kind in ([entity["@type"]] if isinstance(entity["@type"], str) else entity["@type"])
    ]


def test_workflow_steps_and_tools(tmp_path: Path) -> None:
    _, entities = written(tmp_path, hello())
    main = entities[entities["./"]["mainEntity"]["@id"]]
    assert main["@id"] == "packed.cwl" and main["name"] == "Words of a book"
    assert [step["@id"] for step in main["step"]] == [
        f"packed.cwl#main/{name}" for name in ("split", "count", "summarise")
    ]
    assert [tool["@id"] for tool in main["hasPart"]] == [
        f"packed.cwl#{name}.cwl" for name in ("split", "count", "summarise")
    ]
    count = entities["packed.cwl#main/count"]
    assert count["workExample"] == {"@id": "packed.cwl#count.cwl"} and count["position"] == "1"
    connection = entities[count["connection"][0]["@id"]]
    assert connection["sourceParameter"] == {"@id": "packed.cwl#split.cwl/chapters"}
    assert connection["targetParameter"] == {"@id": "packed.cwl#count.cwl/chapter"}
    assert entities["packed.cwl#main/top"] == {
        "@id": "packed.cwl#main/top", "@type": "FormalParameter", "additionalType": "Integer", "name": "top",
        "description": "How many of the most frequent words the summary lists.", "valueRequired": "False",
        "defaultValue": "10", "conformsTo": {"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
    }  # fmt: skip


def test_an_action_says_what_is_known_of_a_job(tmp_path: Path) -> None:
    _, entities = written(tmp_path, hello())
    action = next(entity for entity in of_type(entities, "CreateAction") if entity["name"] == "Run of /count[1]")
    assert action["instrument"] == {"@id": "packed.cwl#count.cwl"}
    assert action["startTime"] == "1970-01-01T00:16:40.000+00:00"
    assert action["endTime"] == "1970-01-01T00:16:42.500+00:00"
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert action["identifier"] == "77_1"
    assert entities[action["additionalProperty"]["@id"]]["value"] == "0"
    node = entities[action["location"]["@id"]]
    assert node["name"] == "n1"
    assert entities[node["containedInPlace"]["@id"]]["name"] == "cluster/batch"
    made = entities[action["result"][0]["@id"]]
    assert made["@id"] == "hybrid://cluster/node/work/chapter-1.tsv" and len(made["sha1"]) == 40
    # the same file is what the next step used and what the run gave
    summarise = next(entity for entity in of_type(entities, "CreateAction") if entity["name"] == "Run of /summarise")
    counts = entities[summarise["object"][0]["@id"]]
    assert {"@id": made["@id"]} in counts["value"]


def test_engine_user_and_run(tmp_path: Path) -> None:
    _, entities = written(tmp_path, hello())
    (organised,) = of_type(entities, "OrganizeAction")
    assert entities[organised["instrument"]["@id"]]["softwareVersion"] == "1.0"
    assert entities[organised["agent"]["@id"]] == {"@id": "#user-ann", "@type": "Person", "name": "ann"}
    assert organised["result"] == {"@id": "#run"} and len(organised["object"]) == 3
    assert entities["#run"]["instrument"] == {"@id": "packed.cwl"}


def test_a_failed_attempt_has_its_reason_and_no_results(tmp_path: Path) -> None:
    failed = record("/count", "[0]", state=JobState.FAILED, exit_code=3, reason="out of memory")
    again = record("/count", "[0]", attempt=2)
    facts = hello(jobs=[record("/split"), failed, again])
    _, entities = written(tmp_path, facts)
    first, second = (e for e in of_type(entities, "CreateAction") if e["name"] == "Run of /count[0]")
    assert first["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert first["error"] == "exit code 3: out of memory" and "result" not in first
    assert second["description"] == "attempt 2" and len(second["result"]) == 1


def test_files_that_were_made_again_say_why_and_where_they_are_now(tmp_path: Path) -> None:
    def renewed(name: str, text: str) -> RenewedFile:
        file = file_at("cluster", name, text)
        now = f"hybrid://cluster/node/work/new/{name}"
        return RenewedFile("count[0]", "outputs", file["location"], now, file["size"], file["checksum"])

    same, changed = renewed("chapter-0.tsv", "table 0"), renewed("chapter-1.tsv", "another")
    made = MadeAgain("outputs", Replay("count[0]", 2, 2, 1, same.before))
    facts = hello(replays=RunReplays((made,), (same, changed)), steps_of_tasks={"count": "/count"})
    _, entities = written(tmp_path, facts)
    action = entities["#made-again-1"]
    assert (action["@type"], action["name"], action["instrument"]) == (
        "CreateAction", "Made again: count[0]", {"@id": "packed.cwl#count.cwl"}
    )  # fmt: skip
    assert action["description"] == (
        "2 jobs ran again, because outputs missed 2 files; 1 file with another content than before"
    )
    # the same content: the same file, which is elsewhere; another content: another file
    assert action["result"] == [{"@id": same.before}, {"@id": changed.now}]
    assert entities[same.before]["contentUrl"] == [same.now]
    step = next(e for e in of_type(entities, "ControlAction") if e["name"] == "Runs of step /count")
    assert {"@id": "#made-again-1"} in step["object"]


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    unknown = record("/split", node="", scheduler_id="", began=None, seconds=None, cpu_s=None, exit_code=None)
    facts = hello(jobs=[unknown], values={}, user="", outputs=None, succeeded=False)
    _, entities = written(tmp_path, facts)
    (job,) = (e for e in of_type(entities, "CreateAction") if e["@id"] != "#run")
    assert set(job) == {"@id", "@type", "name", "instrument", "actionStatus", "location"}
    assert not of_type(entities, "Person") and "result" not in entities["#run"]


def test_a_run_of_which_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(HybridError) as caught:
        written(tmp_path, hello(jobs=[], values={}))
    assert str(caught.value) == (
        "nothing is known of any job of run manual__1: there is no record of it to be made\n"
        "  -> jobs are recorded when they have ended: `airflow hybrid jobs` shows them"
    )
    assert not list(tmp_path.iterdir())


def local_output(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text)
    return {**file_at("local", path.name, text), "location": path.as_uri()}


def test_copies_of_outputs(tmp_path: Path) -> None:
    summary = local_output(tmp_path / "summary.md", "summary")
    facts = hello(outputs={"summary": summary, "counts": hello().outputs["counts"]})  # type: ignore[index]
    crate, entities = written(tmp_path, facts, CrateOptions(outputs=True))
    assert crate.copies == 1
    assert crate.elsewhere == ("hybrid://cluster/node/work/chapter-0.tsv", "hybrid://cluster/node/work/chapter-1.tsv")
    assert entities["outputs/1/summary.md"]["alternateName"] == "summary.md"
    with zipfile.ZipFile(crate.path) as archive:
        assert archive.read("outputs/1/summary.md") == b"summary"
        assert json.loads(archive.read("primary-output.json"))["summary"]["location"] == "outputs/1/summary.md"


def test_a_file_that_was_changed_since_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    summary = local_output(path, "summary")
    path.write_text("another")
    with pytest.raises(TransferError) as caught:
        written(tmp_path, hello(outputs={"summary": summary}), CrateOptions(outputs=True))
    assert str(caught.value) == (
        f"{path} was changed since the run: its checksum is {file_at('', '', 'another')['checksum']}, not "
        f"{summary['checksum']}\n"
        "  -> put back what the run made, or leave copies of files out: the crate then only refers to them"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["summary.md"]


def test_a_file_without_a_checksum_is_not_copied(tmp_path: Path) -> None:
    """Whoever may edit an XCom could otherwise get any file of this machine."""
    secret = tmp_path / "secret"
    secret.write_text("key")
    facts = hello(outputs={"summary": {"class": "File", "location": secret.as_uri()}})
    crate, _ = written(tmp_path, facts, CrateOptions(outputs=True))
    assert crate.copies == 0 and crate.elsewhere == (secret.as_uri(),)


def test_copies_are_limited(tmp_path: Path) -> None:
    summary = local_output(tmp_path / "summary.md", "x" * 5000)
    with pytest.raises(TransferError, match=r"and 3,000 are allowed"):
        written(tmp_path, hello(outputs={"summary": summary}), CrateOptions(outputs=True, most_bytes=3000))


def test_no_secret_of_a_url_is_in_a_crate(tmp_path: Path) -> None:
    book = {"class": "File", "location": "https://ann:hunter2@example.org/book.txt?token=hunter2"}
    crate, _ = written(tmp_path, hello(inputs={"book": book}))
    with zipfile.ZipFile(crate.path) as archive:
        assert not [name for name in archive.namelist() if b"hunter2" in archive.read(name)]


def test_ten_thousand_jobs_cost_a_crate_in_proportion(tmp_path: Path) -> None:
    """Twice as many jobs take about twice as long, by processor time, and 2 kB of metadata each at most."""
    seconds = []
    for count in (5_000, 10_000):
        facts = hello(count)
        began = time.process_time()
        crate, entities = written(tmp_path, facts)
        seconds.append(time.process_time() - began)
        assert len(of_type(entities, "CreateAction")) == count + 3
    assert seconds[1] < 4 * seconds[0]
    with zipfile.ZipFile(crate.path) as archive:
        assert archive.getinfo("ro-crate-metadata.json").file_size < 10_000 * 2_000


def test_a_file_with_other_secondary_files_is_another_collection(tmp_path: Path) -> None:
    """A step adds an index beside the one that its input has; two samples have the same reads."""
    book, index, table = (file_at("local", name, name) for name in ("book.txt", "book.index", "book.table"))
    used = {**book, "secondaryFiles": [index]}
    made = {**book, "secondaryFiles": [table, index]}
    values = {**hello().values, ("/split", ""): JobValues({"book": used}, {"chapters": [made, used]})}
    facts = hello(values=values, inputs={"book": used}, outputs={"summary": {**made, "secondaryFiles": [index, table]}})
    _, entities = written(tmp_path, facts)
    main = book["location"]
    collections = {e["@id"]: [part["@id"] for part in e["hasPart"]] for e in of_type(entities, "Collection")}
    assert collections == {
        f"#collection-of-{main}": [main, index["location"]],
        f"#collection-of-{main}-2": [main, table["location"], index["location"]],
    }
    split = next(e for e in of_type(entities, "CreateAction") if e["name"] == "Run of /split")
    assert split["object"] == [{"@id": f"#collection-of-{main}"}]
    assert entities["#run"]["result"] == [{"@id": f"#collection-of-{main}-2"}]


def test_a_folder_has_what_any_of_its_values_lists(tmp_path: Path) -> None:
    page, sub = file_at("local", "folder/page", "page"), "hybrid://local/node/work/folder/sub"
    folder = {"class": "Directory", "location": "hybrid://local/node/work/folder", "basename": "folder"}
    inner = {"class": "Directory", "location": sub, "basename": "sub"}
    shallow = {**folder, "listing": [inner]}
    deep = {**folder, "listing": [{**inner, "listing": [page]}]}
    values = {**hello().values, ("/split", ""): JobValues({"book": [folder, shallow]}, {"chapters": [deep]})}
    _, entities = written(tmp_path, hello(values=values))
    assert entities[f"{folder['location']}/"]["hasPart"] == [{"@id": f"{sub}/"}]
    assert entities[f"{sub}/"]["hasPart"] == [{"@id": page["location"]}]


def test_copies_of_folders(tmp_path: Path) -> None:
    """Those that list their files; the crate says of the others that it only refers to them, once each."""
    folder = {"class": "Directory", "location": (tmp_path / "in").as_uri()}
    unknown = {"class": "Directory", "location": (tmp_path / "unknown").as_uri(), "basename": "unknown"}
    main, page = (local_output(tmp_path / name, name) for name in ("main", "page"))
    inputs = {
        "whole": {**folder, "listing": [page, {**folder, "listing": []}]},
        "beside": {**main, "secondaryFiles": [{**folder, "listing": [page]}]},
        "part": {**folder, "listing": [page, unknown]},
        "unknown": unknown,
    }
    crate, _ = written(tmp_path, hello(inputs=inputs), CrateOptions(inputs=True))
    assert (crate.copies, crate.elsewhere) == (2, (unknown["location"],))
    with zipfile.ZipFile(crate.path) as archive:
        values = json.loads(archive.read("primary-job.json"))
    inside = {**page, "location": "inputs/1/page"}
    literal = {"class": "Directory", "basename": "in"}
    assert values == {
        "whole": {**literal, "listing": [inside, {**literal, "listing": []}]},
        "beside": {**main, "location": "inputs/2/main", "secondaryFiles": [{**literal, "listing": [inside]}]},
        "part": {**folder, "listing": [inside, unknown]},
        "unknown": unknown,
    }


def test_a_document_may_use_a_name_for_several_things(tmp_path: Path) -> None:
    """For a step, an input and an output of its workflow, and for an input and an output of a tool; the same tool may
    be written in several steps. (``cwltool --pack`` keeps only one thing of each name.)
    """
    ports = "inputs: {x: {type: File, inputBinding: {}}}\nstdout: a\noutputs: {x: stdout}\n"
    (tmp_path / "tool.cwl").write_text(f"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\n{ports}")
    run = "run: {$import: tool.cwl}"
    flow = "cwlVersion: v1.2\nclass: Workflow\ninputs: {one: File}\noutputs: {two: {type: File, outputSource: two/x}}\n"
    flow += f"steps:\n  two: {{{run}, in: {{x: one/x}}, out: [x]}}\n  one: {{{run}, in: {{x: one}}, out: [x]}}\n"
    (tmp_path / "main.cwl").write_text(flow)
    packed = packed_document(load_graph(str(tmp_path / "main.cwl")))
    files = [file_at("local", name, name) for name in ("in", "a", "b")]
    values = {
        ("/one", ""): JobValues({"x": files[0]}, {"x": files[1]}),
        ("/two", ""): JobValues({"x": files[1]}, {"x": files[2]}),
    }
    facts = hello(
        document=packed.document,
        document_files=packed.files,
        values=values,
        jobs=[record("/one"), record("/two")],
        inputs={"one": files[0]},
        outputs={"two": files[2]},
    )
    crate, entities = written(tmp_path, facts)
    assert {entity["@id"]: entity["position"] for entity in of_type(entities, "HowToStep")} == {
        "packed.cwl#main/one": "0",
        "packed.cwl#main/two": "1",
    }
    links = {
        (c["sourceParameter"]["@id"], c["targetParameter"]["@id"]) for c in of_type(entities, "ParameterConnection")
    }
    tool = "packed.cwl#tool.cwl/x"
    assert links == {
        ("packed.cwl#main/one/input", f"{tool}/input"),
        (f"{tool}/output", f"{tool}/input"),
        (f"{tool}/output", "packed.cwl#main/two/output"),
    }
    with zipfile.ZipFile(crate.path) as archive:
        archive.extract("packed.cwl", tmp_path)
    again = load_graph(str(tmp_path / "packed.cwl"))
    assert [step.path for step in again.steps] == ["/one", "/two"]
    assert again.outputs[0].sources == (Source("/two", "x"),)


@pytest.mark.parametrize("location", ["#run", "./", "ro-crate-metadata.json", "packed.cwl", "x://[", ""])
@pytest.mark.parametrize("kind", ["File", "Directory"])
def test_the_location_of_a_file_takes_the_place_of_nothing_in_the_crate(
    tmp_path: Path, kind: str, location: str
) -> None:
    file = {"class": kind, "location": location, "basename": "b"}
    values = {**hello().values, ("/split", ""): JobValues({"book": file}, {"chapters": []})}
    _, entities = written(tmp_path, hello(values=values))
    assert entities["./"]["mainEntity"] == {"@id": "packed.cwl"}
    assert (entities["#run"]["@type"], entities["./"]["@type"]) == ("CreateAction", "Dataset")
    (book,) = entities["#job-1"]["object"]
    assert book["@id"].rstrip("/") == "#literal-1" and entities[book["@id"]]["name"] == "b"


def test_a_name_that_is_not_utf_8_is_in_a_crate_as_it_is(tmp_path: Path) -> None:
    _, entities = written(tmp_path, hello(jobs=[record("/split", node="n\udcff")]))
    assert "n\udcff" in [place["name"] for place in of_type(entities, "Place")]
