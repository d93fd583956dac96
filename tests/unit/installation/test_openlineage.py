# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files as OpenLineage's datasets, and the events of tasks that their trigger ends, by Airflow's own provider."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.installation import openlineage
from airflow_hybrid.installation.openlineage.datasets import (
    MOST_FILES,
    FileData,
    entries_from_xcom,
    files_of,
    named_file,
)
from airflow_hybrid.installation.openlineage.events import Ended, TaskRun, send_end
from airflow_hybrid.model import LineageEntry

RUN = TaskRun(
    run_id="019a0000-0000-7000-8000-000000000001",
    job_name="genomes.align",
    parent={
        "run_id": "019a0000-0000-7000-8000-000000000002",
        "job_name": "genomes",
        "job_namespace": "lab",
        "root_run_id": "019a0000-0000-7000-8000-000000000003",
        "root_job_name": "nightly",
        "root_job_namespace": "institute",
    },
    owners=("anna",),
    tags=("cwl",),
    doc="Aligns reads.",
    doc_type="text/markdown",
    nominal_start="2026-11-29T00:00:00+00:00",
    nominal_end="2026-11-30T00:00:00+00:00",
    airflow={
        "dag": {"dag_id": "genomes"},
        "dagRun": {"run_id": "monday"},
        "task": {"task_id": "align"},
        "taskInstance": {"try_number": 1},
        "taskUuid": "019a0000-0000-7000-8000-000000000001",
    },
)
READS = "hybrid://hpc/login.example.org/scratch/run/reads.csv"
ALIGNED = "hybrid://hpc/login.example.org/scratch/run/out/aligned.bam"
GIVEN = [{"reads": {"class": "File", "location": READS, "size": 12, "checksum": "sha1$bb"}, "word": "x"}]
LINEAGE = [
    LineageEntry("/align", "hybrid://hpc/login.example.org/w/t", "placed", 12, 0.0, note="hpc: most data"),
    LineageEntry(
        "file:///data/a%20b.txt", "hybrid://hpc/login.example.org/w/store/ab/a b.txt", "relay", 7, 0.5, "sha1$aa"
    ),
    LineageEntry(ALIGNED, ALIGNED, "produced", 99, 0.0, "sha1$cc"),
    LineageEntry(ALIGNED, ALIGNED, "in place", 99, 0.0, "sha1$cc"),
]


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("file:///data/a%20b.txt", "file", "/data/a b.txt"),
        ("hybrid://hpc/login.example.org/scratch/x", "file://hpc/login.example.org", "/scratch/x"),
        ("hybrid://boxes/box%201/w/%C3%A4", "file://boxes/box%201", "/w/ä"),
        ("hybrid://hpc/n/w/%FF", "file://hpc/n", "/w/%FF"),
        ("s3://conn@bucket/some/key.csv", "s3://bucket", "some/key.csv"),
        (
            "https://anna:secret@data.example.org:8443/reads.fq?token=secret",
            "https://data.example.org:8443",
            "reads.fq",
        ),
        ("hybrid://hpc/n/w/run/", "file://hpc/n", "/w/run"),
    ],
)
def test_files_are_named_by_the_rules_of_openlineage(uri: str, namespace: str, name: str) -> None:
    named = named_file(uri)
    assert named is not None and (named.namespace, named.name) == (namespace, name)
    assert "secret" not in named.uri


@pytest.mark.parametrize("uri", ["_:literal", "not a uri", "file:///a/../b", "file:///" + 5000 * "x", "hybrid://hpc/n"])
def test_what_is_no_file_is_no_dataset(uri: str) -> None:
    assert named_file(uri) is None


def test_a_step_reads_what_was_brought_for_it_and_makes_what_its_jobs_made() -> None:
    files = files_of(GIVEN, LINEAGE)
    assert files.inputs == (
        FileData("file://hpc/login.example.org", "/scratch/run/reads.csv", READS, 12, "sha1$bb"),
        FileData("file", "/data/a b.txt", "file:///data/a%20b.txt", 7, "sha1$aa"),
    )
    assert files.outputs == (
        FileData("file://hpc/login.example.org", "/scratch/run/out/aligned.bam", ALIGNED, 99, "sha1$cc"),
    )


def test_the_copies_of_the_last_task_are_its_outputs() -> None:
    files = files_of(
        None, [LineageEntry(ALIGNED, "file:///results/aligned.bam", "copy", 99, 1.0, "sha1$cc")], copies=True
    )
    assert [file.uri for file in files.inputs] == [ALIGNED]
    assert [file.uri for file in files.outputs] == ["file:///results/aligned.bam"]


def test_an_event_has_a_bounded_number_of_files() -> None:
    many = [LineageEntry(f"file:///d/{n}", f"file:///d/{n}", "in place", 1, 0.0) for n in range(MOST_FILES + 5)]
    files = files_of(None, many)
    assert (len(files.inputs), files.left_out) == (MOST_FILES, 5)


def test_what_a_user_wrote_into_the_xcom_does_no_harm() -> None:
    good = LINEAGE[3].to_json()
    assert isinstance(good, dict)
    assert entries_from_xcom([good, {**good, "bytes": "9"}, {**good, "source": 3}, {"x": 1}, 7, None]) == [LINEAGE[3]]
    assert entries_from_xcom({"a": 1}) == []


# --- the real provider --------------------------------------------------------------------------------------------


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of the module; Airflow may have sent those of its logger to a place of its own."""
    from airflow_hybrid.installation.openlineage import events

    texts: list[str] = []
    monkeypatch.setattr(events.log, "warning", lambda text, *values, **_: texts.append(text % values))
    return texts


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the provider's own transport writes to."""
    from airflow_hybrid.installation.openlineage import events

    file = tmp_path / "events.json"
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "lab")
    monkeypatch.setattr(events, "_threads", None)  # threads keep the client of the first transport
    return file


def events_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_the_end_of_a_task_is_told_with_its_files(written: Path) -> None:
    await send_end(json.loads(json.dumps(RUN.to_json())), Ended(GIVEN, LINEAGE))
    (event,) = events_in(written)
    assert (event["eventType"], event["run"]["runId"]) == ("COMPLETE", RUN.run_id)
    assert (event["job"]["namespace"], event["job"]["name"]) == ("lab", "genomes.align")
    job, run = event["job"]["facets"], event["run"]["facets"]
    assert (job["jobType"]["integration"], job["jobType"]["jobType"]) == ("AIRFLOW", "TASK")
    assert job["ownership"]["owners"] == [{"name": "anna"}]
    assert job["documentation"]["description"] == "Aligns reads."
    assert run["processing_engine"]["name"] == "Airflow"
    assert RUN.airflow and {name: run["airflow"][name] for name in RUN.airflow} == RUN.airflow
    parent = run["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (RUN.parent["run_id"], "genomes")
    assert parent["root"]["run"]["runId"] == RUN.parent["root_run_id"]
    assert (parent["root"]["job"]["namespace"], parent["root"]["job"]["name"]) == ("institute", "nightly")
    (read, copied), (made,) = event["inputs"], event["outputs"]
    assert (copied["namespace"], copied["name"]) == ("file", "/data/a b.txt")
    assert (read["facets"]["version"]["datasetVersion"], read["inputFacets"]["inputStatistics"]["size"]) == (
        "sha1$bb",
        12,
    )
    assert read["facets"]["storage"]["fileFormat"] == "csv"
    assert (made["name"], made["outputFacets"]["outputStatistics"]["size"]) == ("/scratch/run/out/aligned.bam", 99)
    assert made["facets"]["dataSource"]["uri"] == ALIGNED


async def test_a_failure_is_told_with_its_reason(written: Path) -> None:
    await send_end(RUN.to_json(), Ended(GIVEN, (), "/align: exit code 3\x1b[2J\n  -> look at its log"))
    (event,) = events_in(written)
    assert (event["eventType"], len(event["inputs"]), event["outputs"]) == ("FAIL", 1, [])
    message = event["run"]["facets"]["errorMessage"]["message"]
    assert message == "/align: exit code 3\\x1b[2J\n  -> look at its log"


async def test_a_server_that_does_not_answer_does_not_hold_up_the_end_of_a_task(
    written: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = {"type": "http", "url": f"http://127.0.0.1:{silent.getsockname()[1]}", "timeout": 60}
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps({**transport, "retry": {"total": 0}}))
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT", "1")
        began = time.monotonic()
        await send_end(RUN.to_json(), Ended(GIVEN, LINEAGE))
        took = time.monotonic() - began
    assert took < 30
    assert "the OpenLineage event about the end of genomes.align was not sent in time" in warned[0]


async def test_a_broken_transport_is_logged_and_nothing_else(
    written: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "no.such.Transport"}')
    await send_end(RUN.to_json(), Ended(GIVEN, LINEAGE))
    assert "the OpenLineage event about the end of genomes.align was not sent" in warned[0]


def test_a_step_need_not_return_to_a_worker_for_the_provider(written: Path) -> None:
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener

    assert openlineage.is_its_listener(OpenLineageListener())  # type: ignore[no-untyped-call]
    assert not openlineage.is_its_listener(object())


def test_nothing_of_the_provider_is_imported_where_it_has_no_transport() -> None:
    code = (
        "import sys, airflow_hybrid.triggers.hybrid, airflow_hybrid.operators.hybrid\n"
        "from airflow_hybrid.installation import openlineage\n"
        "assert not openlineage.is_on()\n"
        "print(sorted(m for m in sys.modules if m.startswith('openlineage')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
