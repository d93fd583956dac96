# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What large documents cost where a DAG is made of them.

    python -m benchmarks.large_graphs                       # 250, 500, 1000, 2000 steps; several minutes
    python -m benchmarks.large_graphs --steps 250 500

prints, for a chain and for steps side by side, with a task for each step and with ``fuse: chains``: CPU seconds to
compile, to read the compiled graph again, to build the DAG and to serialize it as Airflow's database keeps it; the
number of tasks, the size of the serialized DAG, and the largest RSS of the process. Each row is a new process. The last
rows are a document like a published pipeline (sub-workflows of tools with containers and JavaScript, 240 tools in all),
and the division of a scatter and of a scattered sub-workflow into chunks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHAIN, WIDE, PIPELINE = "chain", "wide", "pipeline"
CHAINS = "chains"
STEPS = (250, 500, 1000, 2000)
_OF_PIPELINE = 240
_IN_SUBWORKFLOW = 20
_TOOLS = 12
_HEAD = {"cwlVersion": "v1.2", "class": "Workflow"}


@dataclass(frozen=True)
class Row:
    """The figures of one document; times are CPU seconds of the process."""

    shape: str
    steps: int
    fuse: str
    compile_s: float
    read_s: float
    build_s: float
    serialize_s: float
    tasks: int
    serialized_kib: int
    rss_mib: int


# --- documents --------------------------------------------------------------------------------------------------------


def _tool(number: int) -> dict[str, Any]:
    """A tool as pipelines have them: a container, resources, some inputs, and JavaScript."""
    options = {
        f"option{k}": {"type": "int?", "default": k, "doc": "An option.", "inputBinding": {"prefix": f"--option-{k}"}}
        for k in range(8)
    }
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "doc": f"Tool {number} of a pipeline.",
        "requirements": {
            "InlineJavascriptRequirement": {},
            "DockerRequirement": {"dockerPull": f"quay.io/biocontainers/tool{number}:1.0"},
            "ResourceRequirement": {"coresMin": 2, "ramMin": f"$({number} * 100 + 1000)"},
        },
        "baseCommand": ["tool", f"part{number}"],
        "arguments": [{"prefix": "--name", "valueFrom": "$(inputs.file.basename.split('.').slice(0, -1).join('.'))"}],
        "inputs": {"file": {"type": "File", "inputBinding": {"position": 1}}, **options},
        "outputs": {"out": {"type": "stdout"}, "log": {"type": "File?", "outputBinding": {"glob": "*.log"}}},
        "stdout": f"$(inputs.file.nameroot).{number}.txt",
    }


def _chain_of(tools: Sequence[str]) -> dict[str, Any]:
    sources = ["file", *(f"s{k}/out" for k in range(len(tools) - 1))]
    return {
        f"s{k}": {"run": tool, "in": {"file": source}, "out": ["out"]}
        for k, (tool, source) in enumerate(zip(tools, sources, strict=True))
    }


def _workflow(steps: Mapping[str, Any], sources: str | Sequence[str]) -> dict[str, Any]:
    kind = "File" if isinstance(sources, str) else "File[]"
    needed: dict[str, Any] = {"SubworkflowFeatureRequirement": {}, "MultipleInputFeatureRequirement": {}}
    outputs = {"out": {"type": kind, "outputSource": sources}}
    return {**_HEAD, "requirements": needed, "inputs": {"file": "File"}, "steps": steps, "outputs": outputs}


def write_document(folder: Path, shape: str, steps: int) -> Path:
    """The document of a row; its tools and sub-workflows are files beside it."""
    for number in range(_TOOLS):
        (folder / f"tool{number}.cwl").write_text(json.dumps(_tool(number), indent=1))
    tools = [f"tool{k % _TOOLS}.cwl" for k in range(steps)]
    if shape == CHAIN:
        document = _workflow(_chain_of(tools[:1] * steps), f"s{steps - 1}/out")
    elif shape == WIDE:
        side_by_side = {f"s{k}": {"run": tools[0], "in": {"file": "file"}, "out": ["out"]} for k in range(steps)}
        document = _workflow(side_by_side, [f"s{k}/out" for k in range(steps)])
    else:
        parts = []
        for begin in range(0, steps, _IN_SUBWORKFLOW):
            inner = tools[begin : begin + _IN_SUBWORKFLOW]
            parts.append(f"part{begin}.cwl")
            part = _workflow(_chain_of(inner), f"s{len(inner) - 1}/out")
            (folder / parts[-1]).write_text(json.dumps(part, indent=1))
        document = _workflow(_chain_of(parts), f"s{len(parts) - 1}/out")
    path = folder / "main.cwl"
    path.write_text(json.dumps(document, indent=1))
    return path


# --- one process per row ----------------------------------------------------------------------------------------------


def _measured(document: str, shape: str, steps: int, fuse: str) -> Row:
    import airflow.sdk  # noqa: F401 - every process has it
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_hybrid import HybridDag
    from airflow_hybrid.cwl.documents import graphs
    from airflow_hybrid.cwl.documents.compile import compile_document  # noqa: F401 - the import of cwltool

    times = [time.process_time()]
    graphs.load_graph(document)
    times.append(time.process_time())
    graphs.load_graph(document)
    times.append(time.process_time())
    dag = HybridDag(document, dag_id="large", fuse=fuse or None)
    times.append(time.process_time())
    text = json.dumps(DagSerialization.to_dict(dag))
    times.append(time.process_time())
    compile_s, read_s, build_s, serialize_s = (later - earlier for earlier, later in itertools.pairwise(times))
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    serialized_kib = len(text) // 1024
    return Row(
        shape, steps, fuse, compile_s, read_s, build_s, serialize_s, len(dag.tasks), serialized_kib, rss_mib
    )  # fmt: skip


def measure(shape: str, steps: int, fuse: str) -> Row:
    """Measure a document in a process of its own, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as scratch:
        document = write_document(Path(scratch), shape, steps)
        cache = {"AIRFLOW_HOME": scratch, "AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR": f"{scratch}/cache"}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.large_graphs", "--row", str(document), shape, str(steps), fuse],
            env={**os.environ, **cache}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"a process to measure failed: {shape} of {steps}\n{done.stderr[-3000:]}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def plans() -> list[str]:
    """What a plan publishes for a scatter of 100,000 jobs, and for a sub-workflow that is scattered 1,000 times."""
    from airflow_hybrid.operators.plan import MOST_CHUNKS, chunk_ranges

    lines = []
    for jobs in (1000, 100_000):
        chunks = chunk_ranges(jobs, MOST_CHUNKS)
        lines.append(f"plan of {jobs:,} jobs: {len(chunks)} chunks, {len(json.dumps(chunks))} bytes of XCom")
    return lines


def _printed(row: Row) -> str:
    times = f"{row.compile_s:8.1f} {row.read_s:8.3f} {row.build_s:8.2f} {row.serialize_s:8.2f}"
    return f"{row.shape:9}{row.steps:6} {row.fuse:7}{times} {row.tasks:6} {row.serialized_kib:8} {row.rss_mib:6}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_graphs", description=str(__doc__).splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--row", nargs=4, metavar=("DOCUMENT", "SHAPE", "STEPS", "FUSE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.row:
        document, shape, steps, fuse = given.row
        sys.stdout.write(json.dumps(vars(_measured(document, shape, int(steps), fuse))) + "\n")
        return 0
    sys.stdout.write("document  steps fuse    compile     read    build serialize  tasks      KiB    MiB\n")
    rows = [(shape, steps, fuse) for steps in given.steps for shape in (CHAIN, WIDE) for fuse in ("", CHAINS)]
    for row in (*rows, (PIPELINE, _OF_PIPELINE, ""), (PIPELINE, _OF_PIPELINE, CHAINS)):
        sys.stdout.write(_printed(measure(*row)) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join(plans()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
