# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How long Airflow takes to parse a hybrid DAG file, over an empty one, when the document has been compiled before.

Airflow parses a DAG file again for every task that starts, in a process that has Airflow itself loaded. So each
measurement is a new process that loads Airflow, parses an empty DAG file first, and then the hybrid one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import DOCUMENTS

EMPTY = "from airflow.sdk import DAG\n\ndag = DAG('empty')\n"
WATCHED = ("cwltool", "schema_salad", "ruamel.yaml")
"""modules that a warm parse must not import"""

_PROBE = """
import json, pathlib, sys, time
from airflow.dag_processing.dagbag import BundleDagBag
def parse(file):
    # as airflow.sdk.execution_time.task_runner does it
    started = time.perf_counter()
    bag = BundleDagBag(dag_folder=file, safe_mode=False, load_op_links=False,
                       bundle_path=pathlib.Path(file).parent, bundle_name="benchmark")
    took = time.perf_counter() - started
    if bag.import_errors or not bag.dags:
        sys.exit(f"{file}: {bag.import_errors or 'no DAG'}")
    return took, sum(len(dag.tasks) for dag in bag.dags.values())
empty, hybrid, watched = sys.argv[1], sys.argv[2], sys.argv[3:]
parse(empty)  # what Airflow itself loads with its first DAG file
base, _ = parse(empty)
first, tasks = parse(hybrid)
again, _ = parse(hybrid)
print(json.dumps({"empty": base, "first": first, "again": again, "tasks": tasks,
                  "imported": [name for name in watched if name in sys.modules]}))
"""


_IMPORT = """
import time
started = time.perf_counter()
import airflow.sdk
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class ParseTime:
    """Medians over ``len(runs)`` processes, in milliseconds over an empty DAG file.

    :ivar first_ms: the first hybrid DAG file of the process: with the import of airflow_hybrid.
    :ivar again_ms: the same file once more.
    :ivar sdk_ms: what a process takes to import ``airflow.sdk``; such processes took turns with those that parsed.
    :ivar imported: of :data:`WATCHED`.
    """

    document: str
    tasks: int
    empty_ms: float
    first_ms: float
    again_ms: float
    runs_ms: tuple[float, ...]
    sdk_ms: float
    imported: tuple[str, ...]

    @property
    def over_sdk(self) -> float:
        """The first parse over the import of ``airflow.sdk``: much the same on machines of different speed."""
        return self.first_ms / self.sdk_ms


def measure(document: str, file: Path, scratch: Path, repeat: int) -> ParseTime:
    """Parse ``file`` in ``repeat`` new processes, after one that compiles.

    :raises RuntimeError: with the import error of the DAG file.
    """
    empty = scratch / "empty.py"
    empty.write_text(EMPTY)
    env = {"AIRFLOW_HOME": str(scratch / "airflow")}
    _probe(empty, file, env, WATCHED)
    rows, imports_s = [], []
    for _ in range(repeat):
        rows.append(_probe(empty, file, env, WATCHED))
        imports_s.append(float(_python([_IMPORT], env)))
    over = [1000 * (row["first"] - row["empty"]) for row in rows]
    return ParseTime(
        document=document,
        tasks=rows[0]["tasks"],
        empty_ms=1000 * statistics.median(row["empty"] for row in rows),
        first_ms=statistics.median(over),
        again_ms=1000 * statistics.median(row["again"] - row["empty"] for row in rows),
        runs_ms=tuple(over),
        sdk_ms=1000 * statistics.median(imports_s),
        imported=tuple(sorted({name for row in rows for name in row["imported"]})),
    )


def _probe(empty: Path, file: Path, env: dict[str, str], watched: Sequence[str]) -> dict[str, Any]:
    return dict(json.loads(_python([_PROBE, str(empty), str(file), *watched], env)))


def _python(arguments: Sequence[str], env: dict[str, str]) -> str:
    """The last line that a new process prints: the first argument is its program."""
    done = subprocess.run(
        [sys.executable, "-c", *arguments], env={**os.environ, **env},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"a process to measure failed: {arguments[1:]}\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()[-1]


def write_documents(folder: Path, lengths: Sequence[int]) -> dict[str, Path]:
    """Chains of so many steps as DAG files: name -> DAG file."""
    files = {}
    for length in lengths:
        sources = ["file", *(f"s{k}/out" for k in range(length - 1))]
        cat = str(DOCUMENTS / "cat.cwl")
        steps = {f"s{k}": {"run": cat, "in": {"file": source}, "out": ["out"]} for k, source in enumerate(sources)}
        workflow = {
            "cwlVersion": "v1.2", "class": "Workflow", "inputs": {"file": "File"}, "steps": steps,
            "outputs": {"out": {"type": "File", "outputSource": f"s{length - 1}/out"}},
        }  # fmt: skip
        name = f"parse{length}"
        (folder / f"{name}.cwl").write_text(json.dumps(workflow))
        files[f"chain of {length}"] = folder / f"{name}.py"
        files[f"chain of {length}"].write_text(
            f'from airflow_hybrid import HybridDag\n\ndag = HybridDag("{name}.cwl", dag_id="{name}")\n'
        )
    return files
