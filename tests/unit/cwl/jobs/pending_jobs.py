# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs of tools that tests write, and what a site says of their outputs."""

from __future__ import annotations

from typing import Any

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.model import CwlObject, FileFact, SiteFacts
from tests.unit.cwl.conftest import Bench

TOOL = "class: CommandLineTool\nbaseCommand: tool\n"
JS = "requirements: {InlineJavascriptRequirement: {}}\n"
DIR = "/site/job"


def file(name: str = "a.txt", place: str = "hybrid://hpc/node1/data", **more: Any) -> CwlObject:
    return {"class": "File", "location": f"{place}/{name}", "basename": name, **more}


def pending(bench: Bench, text: str, inputs: CwlObject) -> PendingJob:
    (job,) = bench.fragment(text).start([inputs], name="t").pump()
    return job


def produced(**names: str | FileFact) -> SiteFacts:
    """Facts of an output directory with these entries (f, d)."""
    facts = SiteFacts(files={f"{DIR}/out": FileFact("d")}, listings={f"{DIR}/out": tuple(names)})
    for name, fact in names.items():
        facts.files[f"{DIR}/out/{name}"] = fact if isinstance(fact, FileFact) else FileFact(fact, 3, "sha1$abc")
    return facts


def uri(path: str) -> str:
    return f"hybrid://hpc/node1{path}"


ONE = TOOL + "inputs: {x: {type: File, inputBinding: {}}}\noutputs: {}\n"


def collect(bench: Bench, outputs: str, facts: SiteFacts, inputs: CwlObject | None = None, **more: str) -> Any:
    """The output of a tool that has made what the facts tell.

    :param outputs: its type and binding.
    """
    given = inputs or {}
    ports = ", ".join(f"{name}: File" for name in given)
    job = pending(bench, f"{TOOL}{JS}inputs: {{{ports}}}\noutputs:\n  o: {outputs}\n", given)
    job.build(DIR, {item["location"]: f"/store/{name}/{item['basename']}" for name, item in given.items()}, SiteFacts())
    return job.collect(0, DIR, facts, uri)["o"]
