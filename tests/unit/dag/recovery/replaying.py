# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A script that runs DAGs in which files are lost between two steps, and writes what ran again to ``seen.json``.

A process of its own: Airflow reads its settings when it is imported. All runs share it, because importing Airflow takes
long.

    python -m tests.unit.dag.recovery.replaying FOLDER [CASE...]
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from airflow_hybrid.runner.home import Home

HEAD = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}, InlineJavascriptRequirement: {},
               StepInputExpressionRequirement: {}}
inputs: {names: 'string[]', history: string, damage: string}
"""
FIRST = """
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "first $0" >> "$1"; echo "$0" > "$0.txt"']
      inputs: {name: {type: string, inputBinding: {position: 1}}, history: {type: string, inputBinding: {position: 2}}}
      outputs: {out: {type: File, outputBinding: {glob: $(inputs.name).txt}}}
    in: {name: NAME, history: history}
    out: [out]
"""
SECOND = """
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'n=$(basename "$0"); echo "second ${n%.txt}" >> "$1"; { tr a-z A-Z < "$0"; EXTRA; } > "$n"']
      inputs: {file: {type: File, inputBinding: {position: 1}}, history: {type: string, inputBinding: {position: 2}}}
      outputs: {out: {type: File, outputBinding: {glob: $(inputs.file.basename)}}}
    in: {file: first/out, history: history}
    out: [out]
"""
HARM = """
  harm:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'eval "$0"']
      inputs: {damage: {type: string, inputBinding: {position: 1}}, after: 'File[]'}
      outputs: {done: {type: int, outputBinding: {outputEval: '$(1)'}}}
    in: {damage: damage, after: AFTER}
    out: [done]
"""
USE = """
  use:
    scatter: file
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'n=$(basename "$0"); echo "use ${n%.txt}" >> "$1"; cat "$0" > "used_$n"']
      inputs:
        file: {type: File, inputBinding: {position: 1}}
        history: {type: string, inputBinding: {position: 2}}
        go: int
      outputs: {out: {type: File, outputBinding: {glob: used_*}}}
    in: {file: AFTER, history: history, go: harm/done}
    out: [out]
"""
PLAIN = f"""{HEAD}
outputs: {{texts: {{type: 'File[]', outputSource: use/out}}}}
steps:
  first:
    scatter: name{FIRST.replace("NAME", "names")}
  second:
    scatter: file{SECOND}{HARM}{USE}
""".replace("AFTER", "second/out")
"""two scattered steps; damage; a scattered step"""
LAST = f"""{HEAD}
outputs: {{texts: {{type: 'File[]', outputSource: second/out}}, done: {{type: int, outputSource: harm/done}}}}
steps:
  first:
    scatter: name{FIRST.replace("NAME", "names")}
  second:
    scatter: file{SECOND}{HARM}
""".replace("AFTER", "second/out")
"""damage just before the outputs are brought"""
INNER = "\n".join(
    f"      {line}"
    for line in f"""
class: Workflow
inputs: {{name: string, history: string}}
outputs: {{out: {{type: File, outputSource: second/out}}}}
steps:
  first:{FIRST.replace("NAME", "name")}
  second:{SECOND}""".splitlines()
)
NESTED = f"""{HEAD}
outputs: {{texts: {{type: 'File[]', outputSource: use/out}}}}
steps:
  both:
    scatter: name
    run:{INNER}
    in: {{name: names, history: history}}
    out: [out]
{HARM}{USE}
""".replace("AFTER", "both/out")
"""the two steps in a scattered sub-workflow"""

UPDATED = f"""{HEAD}
outputs: {{texts: {{type: 'File[]', outputSource: use/out}}}}
steps:
  first:
    scatter: name{FIRST.replace("NAME", "names")}
  update:
    scatter: file
    run:
      class: CommandLineTool
      requirements:
        InplaceUpdateRequirement: {{inplaceUpdate: true}}
        InitialWorkDirRequirement: {{listing: [{{entry: $(inputs.file), writable: true}}]}}
      baseCommand: [sh, -c, 'echo updated >> "$0"']
      inputs: {{file: {{type: File, inputBinding: {{position: 1, valueFrom: $(self.basename)}}}}}}
      outputs: {{out: {{type: File, outputBinding: {{glob: $(inputs.file.basename)}}}}}}
    in: {{file: first/out}}
    out: [out]
{HARM}{USE}
""".replace("AFTER", "update/out")
"""a step that changes the files of the first one where they are"""

TWICE = f"""{HEAD}
outputs: {{texts: {{type: 'File[]', outputSource: use/out}}}}
steps:
  first:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "first b" >> "$0"; echo B > b.txt']
      inputs: {{history: {{type: string, inputBinding: {{position: 2}}}}}}
      outputs: {{out: {{type: File, outputBinding: {{glob: b.txt}}}}}}
    in: {{history: history}}
    out: [out]
{HARM.replace("'File[]'", "File").replace("AFTER", "first/out")}
  use:
    run:
      class: Workflow
      inputs: {{file: File, history: string, go: int}}
      outputs: {{out: {{type: 'File[]', outputSource: after/out}}}}
      steps:
        before:
          run:
            class: CommandLineTool
            baseCommand: [sh, -c, 'echo "before b" >> "$1"; f=$(readlink -f "$0"); case $f in */a2-*) rm "$f"; esac']
            inputs:
              file: {{type: File, inputBinding: {{position: 1}}}}
              history: {{type: string, inputBinding: {{position: 2}}}}
              go: int
            outputs: {{done: {{type: int, outputBinding: {{outputEval: '$(1)'}}}}}}
          in: {{file: file, history: history, go: go}}
          out: [done]
        after:
          run:
            class: CommandLineTool
            baseCommand: [sh, -c, 'cp "$0" used_b.txt']
            inputs: {{file: {{type: File, inputBinding: {{position: 1}}}}, done: int}}
            outputs: {{out: {{type: 'File[]', outputBinding: {{glob: used_*}}}}}}
          in: {{file: file, done: before/done}}
          out: [out]
    in: {{file: first/out, history: history, go: harm/done}}
    out: [out]
"""
"""a file that is lost, made again, and lost once more between two steps that share a task"""
TREE = f"""{HEAD}
outputs: {{texts: {{type: 'File[]', outputSource: use/out}}}}
steps:
  first:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "first" >> "$0"; mkdir -p d/e; echo B > "d/e/b b.txt"; echo "echo RAN" > run.sh;
        chmod +x run.sh; cp run.sh same.sh; echo B > twin.txt']
      inputs: {{history: {{type: string, inputBinding: {{position: 1}}}}}}
      outputs:
        folder: {{type: Directory, outputBinding: {{glob: d}}}}
        program: {{type: File, outputBinding: {{glob: run.sh}}}}
        twins: {{type: 'File[]', outputBinding: {{glob: ['same.sh', 'twin.txt']}}}}
    in: {{history: history}}
    out: [folder, program, twins]
{HARM.replace("'File[]'", "File").replace("AFTER", "first/program")}
  use:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, '"$0" > used.txt; cat "$1"/e/* "$2" "$3" >> used.txt']
      inputs:
        program: {{type: File, inputBinding: {{position: 1}}}}
        folder: {{type: Directory, inputBinding: {{position: 2}}}}
        twins: {{type: 'File[]', inputBinding: {{position: 3}}}}
        go: int
      outputs: {{out: {{type: 'File[]', outputBinding: {{glob: used.txt}}}}}}
    in: {{program: first/program, folder: first/folder, twins: first/twins, go: harm/done}}
    out: [out]
"""
"""a folder, a program, and files of the same content"""


@dataclass(frozen=True)
class Case:
    """A run.

    :ivar damage: a command, in the folder of the run; ``extra``: what else the second step writes.
    """

    damage: str
    document: str = PLAIN
    extra: str = ":"
    deferred: bool = False
    bindings: tuple[dict[str, Any], ...] = ({"step": "/", "scatter": "batch"},)
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    # of a scatter that is one task, one job at each of two levels
    "one": Case("rm first/g*/a1*/*/out/b.txt second/g*/a1*/*/out/b.txt"),
    # everything, of mapped tasks that a trigger follows; the consumers miss different files of the same tasks
    "purged": Case("rm -r first second", deferred=True, bindings=({"step": "/", "max_mapped": 2},)),
    # what is made again has another content, and is missed by the last task
    "outputs": Case(
        "echo x > $(echo second/g*/a1*/*/out/c.txt)",
        LAST,
        extra="date +%N",
        options={"report": ["json"], "provenance": True},
    ),
    "nested": Case("rm both?second*/*/g*/a1*/*/out/b.txt", NESTED, bindings=({"step": "/"},)),
    # of a chunk of two instances, the last step's output is missed; of another one, those of both steps
    "fused": Case(
        "rm $(echo both/*/g*/a1*/*/out/a.txt | tr ' ' '\\n' | while read -r x; do grep -l A $x; done)"
        " && rm both/*/g*/a1*/*/out/d.txt",
        NESTED,
        bindings=({"step": "/"}, {"step": "/both", "fuse": True, "max_mapped": 2}),
    ),
    "twice": Case(
        "rm first/g*/a1*/*/out/b.txt", TWICE, deferred=True, bindings=({"step": "/"}, {"step": "/use", "fuse": True})
    ),
    # nothing of the task is left when the last task needs it
    "all": Case("rm -r second", LAST),
    "updated": Case("rm first/g*/a1*/*/out/b.txt", UPDATED),
    # everything, with second copies elsewhere
    "kept": Case(
        "rm -r first second",
        deferred=True,
        bindings=({"step": "/", "max_mapped": 2},),
        options={"checkpoint": "archive", "recovery": {"replay": "off"}},
    ),
    # the last task misses them; one step has none, so its job has to run again from the copy of its input
    "kept_first": Case(
        "rm -r first second",
        LAST,
        bindings=({"step": "/", "scatter": "batch"}, {"step": "/second", "scatter": "batch", "checkpoint": False}),
        options={"checkpoint": {"target": "archive", "expire": "2h"}},
    ),
    # folders that a purge leaves, empty
    "kept_tree": Case(
        "find . -path '*/out/*' -type f -delete",
        TREE,
        bindings=({"step": "/", "checkpoint": "archive"},),
        options={"recovery": {"replay": "off"}},
    ),
    # of steps that share a task, only what the task publishes has a second copy
    "kept_fused": Case(
        "rm -r both*",
        NESTED,
        bindings=({"step": "/"}, {"step": "/both", "fuse": True, "max_mapped": 2, "checkpoint": "archive"}),
        options={"recovery": {"replay": "off"}},
    ),
    "off": Case("rm second/g*/a1*/*/out/b.txt", options={"recovery": {"replay": "off"}}),
}


class Runs:
    """The runs, in one Airflow, and what ran in each."""

    def __init__(self, folder: Path) -> None:
        from airflow_hybrid.runner.dag_run import DagRunner

        self.folder = folder
        (folder / "dags" / "d.py").write_text("# the DAGs' file\n")
        self.seen: dict[str, Any] = {}
        self._runner = DagRunner()

    def close(self) -> None:
        self._runner.close()

    def run(self, name: str, case: Case) -> None:
        from airflow_hybrid import HybridDag

        work, history = self.folder / f"work-{name}", self.folder / f"history-{name}"
        document = self.folder / "dags" / f"{name}.cwl"
        document.write_text(case.document.replace("EXTRA", case.extra))
        damage = f"cd {work}/{name}/* && {case.damage}"
        dag = HybridDag(
            str(document),
            dag_id=name,
            inputs={"names": ["a", "b", "c", "d"], "history": str(history), "damage": damage},
            outdir=str(self.folder / f"out-{name}"),
            fileloc=str(self.folder / "dags" / "d.py"),
            deployments={
                "here": {"type": "local", "workdir": str(work), "deferrable": case.deferred},
                "archive": {"type": "local", "workdir": str(self.folder / f"archive-{name}")},
            },
            bindings=[{"target": {"deployment": "here"}, **binding} for binding in case.bindings],
            **case.options,
        )
        result = self._runner.run(dag)
        outputs = [] if result.outputs is None else result.outputs["texts"]
        paths = [Path(unquote(file["location"].removeprefix("file://"))) for file in outputs]
        self.seen[name] = {
            "states": sorted(set(result.tasks.values())),
            "errors": [str(error) for error in result.errors],
            "ran": history.read_text().splitlines(),
            "outputs": {path.name: path.read_text() for path in paths},
            "kept": sorted(
                path.read_text() for path in self.folder.glob(f"archive-{name}/**/content") if path.is_file()
            ),
            **_told(self.folder / f"out-{name}"),
        }


def _told(outdir: Path) -> dict[str, Any]:
    """What the report and the record of a run, where it has them, tell of what was made again."""
    told: dict[str, Any] = {}
    for path in outdir.rglob("run-report.json"):
        report = json.loads(path.read_text())
        told["report"] = {name: report[name] for name in ("made_again", "renewed")}
    for path in outdir.rglob("provenance.crate.zip"):
        with zipfile.ZipFile(path) as archive:
            entities = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
        told["record"] = [entity for entity in entities if entity["@id"].startswith("#made-again")]
    return told


def main(folder: Path, names: list[str]) -> None:
    os.environ["HOME"] = str(folder)
    Home(folder, log_level="ERROR").ready()
    runs = Runs(folder)
    try:
        for name in names or CASES:
            runs.run(name, CASES[name])
    finally:
        runs.close()
        (folder / "seen.json").write_text(json.dumps(runs.seen, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
