# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run of dags/hello as its tasks would have reported it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from airflow_hybrid.crates.facts import JobValues, RunFacts
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.cwl.documents.packing import packed_document
from airflow_hybrid.model.jobs import JobState
from airflow_hybrid.model.records import JobRecord

ROOT = Path(__file__).parents[3]


def file_at(site: str, name: str, text: str) -> dict[str, Any]:
    """A File of a job."""
    data = text.encode()
    checksum = f"sha1${hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
    location = f"hybrid://{site}/node/work/{name}"
    return {"class": "File", "location": location, "basename": name, "checksum": checksum, "size": len(data)}


def record(step: str, index: str = "", **other: Any) -> JobRecord:
    known: dict[str, Any] = {
        "state": JobState.COMPLETED, "exit_code": 0, "scheduler_id": "77_1", "node": "n1", "began": 1000.0,
        "seconds": 2.5, "cpu_s": 2.0,
    }  # fmt: skip
    return JobRecord(step, index, "cluster", "batch", "login", **{**known, **other})


def hello(chapters: int = 2, **other: Any) -> RunFacts:
    """Facts of a run with a scatter over some chapters."""
    packed = packed_document(load_graph(str(ROOT / "dags/hello/main.cwl")))
    book = file_at("local", "book.txt", "# One")
    parts = [file_at("local", f"chapter-{n}.txt", f"chapter {n}") for n in range(chapters)]
    tables = [file_at("cluster", f"chapter-{n}.tsv", f"table {n}") for n in range(chapters)]
    summary = file_at("local", "summary.md", "summary")
    values = {
        ("/split", ""): JobValues({"book": book}, {"chapters": parts}),
        ("/summarise", ""): JobValues({"counts": tables, "top": 10}, {"summary": summary}),
    }
    for n in range(chapters):
        values["/count", f"[{n}]"] = JobValues({"chapter": parts[n]}, {"counts": tables[n]})
    jobs = [record("/split"), *(record("/count", f"[{n}]") for n in range(chapters)), record("/summarise")]
    known: dict[str, Any] = {
        "name": "Words of a book", "dag_id": "hello", "run_id": "manual__1", "succeeded": True,
        "document": packed.document, "document_files": packed.files, "inputs": {"book": book, "top": 10},
        "outputs": {"summary": summary, "counts": tables}, "jobs": jobs, "values": values, "began": 900.0,
        "ended": 1100.0, "user": "ann", "versions": {"airflow_hybrid": "1.0", "cwltool": "3.3"},
    }  # fmt: skip
    return RunFacts(**{**known, **other})
