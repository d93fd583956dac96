# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A driver that runs fragments on this machine, one job after the other: what the engine does, without its care."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.fragments.fragment_run import InstanceResult
from airflow_hybrid.cwl.fragments.step_files import FileAccess
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.values import inputs as ports
from airflow_hybrid.cwl.values import scatter
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import (
    CwlObject,
    FactsNeeded,
    FileFact,
    FileRef,
    JobScript,
    SiteFacts,
    Source,
    StageEntry,
    Step,
    WorkflowGraph,
)


class Driver:
    """Runs graphs step by step (as the DAG does), or one fragment.

    :ivar site: name of the deployment that outputs are said to be at.
    :ivar chunk: cut scatters into chunks of this many jobs.
    :ivar staged: give jobs copies of their files, under other names (as a content-addressed store does).
    :ivar scripts: every job that was run.
    """

    def __init__(self, root: Path, *, site: str = "local", chunk: int | None = None, staged: bool = False) -> None:
        self.root = root
        self.site = site
        self.chunk = chunk
        self.staged = staged
        self.scripts: list[tuple[PendingJob, JobScript]] = []
        self._runs = 0

    # --- graphs -------------------------------------------------------------------------------------------------

    def run_graph(self, graph: WorkflowGraph, given: Mapping[str, Any]) -> CwlObject:
        scope = ports.scope_inputs(graph, given)
        values: dict[Source, Any] = {Source(None, name): value for name, value in scope.items()}
        for step in graph.steps:
            outputs = self.run_step(step, ports.resolve_step_inputs(step, values, None))
            values.update({Source(step.path, name): value for name, value in outputs.items()})
        return ports.resolve_outputs(graph, values)

    def run_step(self, step: Step, inputs: CwlObject) -> CwlObject:
        document = document_of(step)
        if self.chunk is None or not step.scatter:
            return self.outputs_of(self.run(Fragment.load(document), [inputs]), step)[0]
        dims = scatter.scatter_dims(step, inputs)
        total = 1
        for size in dims:
            total *= size
        fragment = Fragment.load(document, chunked=True)
        flat: list[CwlObject] = []
        for lo in range(0, total, self.chunk):
            hi = min(total, lo + self.chunk)
            result = self.outputs_of(self.run(fragment, [scatter.slice_scatter(step, inputs, lo, hi)]), step)[0]
            flat += [{name: result[name][index] for name in step.outputs} for index in range(hi - lo)]
        return scatter.shape_outputs(step, dims, flat)

    @staticmethod
    def outputs_of(results: list[InstanceResult], step: Step) -> list[CwlObject]:
        for result in results:
            if "Fail" in result.status:
                raise JobsFailedError(f"{step.path}: {result.status}: {result.message}")
        return [result.outputs for result in results]

    # --- fragments ----------------------------------------------------------------------------------------------

    def run(self, fragment: Fragment, instances: list[CwlObject]) -> list[InstanceResult]:
        self._runs += 1
        folder = self.root / f"run{self._runs}"
        run = fragment.start(instances, name="test", access=FileAccess(read_local, list_local))
        while (jobs := run.pump()) or run.paused:
            for job in jobs:
                self.run_job(job, folder)
        return run.results()

    def run_job(self, job: PendingJob, folder: Path) -> None:
        jobdir = str(folder / job.key)
        try:
            assert job.resources.cores > 0
            paths = {item["location"]: self.replica(item) for item in job.files()}
            facts = SiteFacts()
            script = answer(facts, lambda: job.build(jobdir, paths, facts))
            self.scripts.append((job, script))
            code = execute(script, jobdir)
            status = job.status(code)
            facts = walk(jobdir)
            outputs = None
            if status == "success":
                outputs = answer(facts, lambda: job.collect(code, jobdir, facts, self.uri))
            job.complete(outputs, status, "" if outputs is not None else f"exit code {code}")
        except HybridError as error:
            job.complete(None, "permanentFail", str(error))

    def replica(self, item: Mapping[str, Any]) -> str:
        path = FileRef.parse(item["location"]).path
        if not self.staged:
            return path
        copy = self.root / "store" / hashlib.sha256(item["location"].encode()).hexdigest()[:8]
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            if item["class"] == "Directory":
                shutil.copytree(path, copy)
            else:
                shutil.copyfile(path, copy)
        return str(copy)

    def uri(self, path: str) -> str:
        return FileRef(self.site, "localhost", path).uri


class JobsFailedError(Exception):
    pass


def answer(facts: SiteFacts, call: Any) -> Any:
    for _ in range(20):
        try:
            return call()
        except FactsNeeded as needed:
            for question in needed.questions:
                probe(facts, question.ask, question.path)
    raise AssertionError("the same questions again and again")


def probe(facts: SiteFacts, ask: str, path: str) -> None:
    fact(facts, path)
    if ask in ("contents", "document"):
        with open(path, "rb") as file:
            facts.contents[path] = file.read(64 * 1024 + 1 if ask == "contents" else -1)
    elif ask == "list":
        facts.listings[path] = tuple(sorted(os.listdir(path)))


def fact(facts: SiteFacts, path: str) -> None:
    kind = "d" if os.path.isdir(path) else "f" if os.path.isfile(path) else "?"
    size = os.path.getsize(path) if kind == "f" else 0
    checksum = None
    if kind == "f":
        checksum = "sha1$" + hashlib.sha1(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    real = os.path.realpath(path)
    facts.files[path] = FileFact(kind, size, checksum, None if real == path else real)


def walk(jobdir: str) -> SiteFacts:
    """What the probe of outputs says: everything below ``out``."""
    facts = SiteFacts()
    outdir = f"{jobdir}/out"
    fact(facts, outdir)
    for folder, folders, names in os.walk(outdir):
        facts.listings[folder] = tuple(sorted(folders + names))
        for name in folders + names:
            fact(facts, f"{folder}/{name}")
            if os.path.islink(f"{folder}/{name}") and os.path.isdir(f"{folder}/{name}"):
                facts.listings[f"{folder}/{name}"] = tuple(sorted(os.listdir(f"{folder}/{name}")))
    return facts


def stage(entry: StageEntry) -> None:
    target = Path(entry.target)
    if entry.kind == "mkdir":
        target.mkdir(parents=True, exist_ok=True)
    elif entry.kind == "file":
        target.write_bytes(entry.text or b"")
    elif entry.kind == "link":
        target.symlink_to(str(entry.source))
    elif Path(str(entry.source)).is_dir():
        shutil.copytree(str(entry.source), target)
    else:
        shutil.copyfile(str(entry.source), target)


def execute(script: JobScript, jobdir: str) -> int:
    for folder in (script.outdir, script.tmpdir):
        os.makedirs(folder)
    for entry in script.stage:
        stage(entry)
    streams: dict[str, Any] = {}
    for name in ("stdout", "stderr"):
        value = getattr(script, name)
        path = Path(script.outdir) / value if value else Path(jobdir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        streams[name] = open(path, "ab")  # noqa: SIM115
    streams["stdin"] = open(script.stdin or os.devnull, "rb")  # noqa: SIM115
    environment = {"PATH": os.environ["PATH"], **script.environment}
    command = ["/bin/sh", "-c", script.command[0]] if script.shell else list(script.command)
    try:
        return subprocess.run(
            command, cwd=script.outdir, env=environment, timeout=script.walltime_s, check=False, **streams
        ).returncode
    except subprocess.TimeoutExpired:
        return 124
    except OSError:
        return 127
    finally:
        for stream in streams.values():
            stream.close()


def read_local(uri: str) -> bytes:
    with open(FileRef.parse(uri).path, "rb") as file:
        return file.read(64 * 1024 + 1)


def list_local(uri: str) -> list[tuple[str, bool]]:
    path = FileRef.parse(uri).path
    return [(name, os.path.isdir(f"{path}/{name}")) for name in sorted(os.listdir(path))]


def text_of(value: Mapping[str, Any]) -> str:
    """Content of an output File."""
    return Path(unquote(FileRef.parse(value["location"]).path)).read_text()
