# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Pairs of jobs that differ in one place, and what the engine makes of a job: its key, or its outputs."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from airflow_hybrid.config import Deployment, parse_bindings
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.jobs.outside import outside_of
from airflow_hybrid.cwl.jobs.reuse import contents_of, paths_of, reuse_key
from airflow_hybrid.cwl.names import CWL_VERSION, STEP_PATH
from airflow_hybrid.engine import FragmentSpec, TaskIdentity
from airflow_hybrid.model import CwlObject, SiteFacts

WORDS = [
    "a",
    "b",
    "#chr1/geneX",
    "#chr2/geneX",
    "cwl:tool.cwl#a",
    "cwl:tool.cwl#b",
    "file:///x#a",
    "position",
    "id",
    "1",
]
"""among them such as look like identifiers or names of fields"""


@dataclass(frozen=True)
class Job:
    """A tool, its inputs, and what its files hold: name -> content."""

    tool: CwlObject
    inputs: CwlObject
    files: dict[str, str]

    def document(self, tool_id: str = "cwl:tool.cwl", step_path: str = "/step") -> CwlObject:
        """The step's document, with the tool's identifiers as they are where it has this id."""
        text = json.dumps(self.tool).replace('"id": "@', f'"id": "{tool_id}#')
        tool = {**json.loads(text), "id": tool_id, STEP_PATH: step_path}
        names = sorted(self.inputs)
        return {
            "class": "Workflow",
            "id": "#main",
            "inputs": [{"id": f"#main/{name}", "type": ["null", "Any"]} for name in names],
            "outputs": [{"id": "#main/out/o", "type": ["null", "Any"], "outputSource": "#main/step/o"}],
            "steps": [
                {
                    "id": "#main/step",
                    "in": [{"id": f"#main/step/{name}", "source": f"#main/{name}"} for name in names],
                    "out": ["#main/step/o"],
                    "run": tool,
                }
            ],
        }

    def given(self, folder: str) -> CwlObject:
        """The inputs, with their files in a folder."""

        def located(value: Any) -> Any:
            if isinstance(value, list):
                return [located(item) for item in value]
            if not isinstance(value, dict):
                return value
            found = {key: located(item) for key, item in value.items()}
            if "location" in value:
                found["location"] = f"file://{folder}/{value['location']}"
            return found

        given: CwlObject = located(self.inputs)
        return given


def key_of(job: Job, *, folder: str = "/data/a", place: Any = None, **where: str) -> str | None:
    """The job's key, as it is built somewhere; None: it has none."""
    jobdir = where.pop("jobdir", "/work/dag/run/task/g0-0/a1-0/00000-0")
    fragment = Fragment(job.document(**where))
    (pending,) = fragment.start([job.given(folder)], name="t").pump()
    paths = {item["location"]: f"{item['location'].removeprefix('file://')}" for item in pending.files()}
    script = pending.build(jobdir, paths, SiteFacts())
    digests = {
        f"file://{folder}/{name}": hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        for name, text in job.files.items()
    }
    contents = contents_of(pending, digests)
    assert contents is not None
    meanings = paths_of(pending, contents)
    if outside_of(script, meanings) is None:
        return None
    return reuse_key(pending, script, contents, meanings, place)


def spec_of(job: Job, folder: Path, run: str) -> FragmentSpec:
    """The job as a task of its own, at a place that all of them share."""
    files = folder / "files" / run
    files.mkdir(parents=True)
    for name, text in job.files.items():
        (files / name).write_text(text)
    site = Deployment("site", "local", workdir=str(folder / "site"))
    return FragmentSpec(
        step_path="/step",
        leaves=("/step",),
        document=job.document(),
        instances=(job.given(str(files)),),
        bindings=tuple(parse_bindings({"/": "site"})),
        deployments={"site": site},
        identity=TaskIdentity("dag", run, "task", origin=run),
        reuse_asked=True,
    )


# --- jobs -----------------------------------------------------------------------------------------------------------


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """A tool that prints what it is given, in some of the ways there are."""
    words = st.sampled_from(WORDS)
    one, two = draw(words), draw(words)
    tool: CwlObject = {
        "class": "CommandLineTool",
        CWL_VERSION: "v1.2",
        "baseCommand": ["printf", "%s|"],
        "inputs": [
            {"id": "@a", "type": "string", "inputBinding": {"position": 1}},
            {"id": "@b", "type": "string", "inputBinding": {"position": 2}},
            {"id": "@l", "type": {"type": "array", "items": "string"}, "inputBinding": {"position": 3}},
            {"id": "@f", "type": "File", "inputBinding": {"position": 4, "valueFrom": "$(self.basename)"}},
        ],
        "arguments": [{"valueFrom": draw(words), "position": 5}, {"valueFrom": draw(words), "position": 6}],
        "outputs": [{"id": "@o", "type": "File", "outputBinding": {"glob": "o.txt"}}],
        "stdout": "o.txt",
        "requirements": [
            {"class": "EnvVarRequirement", "envDef": [{"envName": "V", "envValue": draw(words)}]},
            {"class": "ResourceRequirement", "coresMin": 1, "ramMin": 64},
            {
                "class": "InitialWorkDirRequirement",
                "listing": [
                    {"entryname": "one", "entry": draw(words), "writable": False},
                    {"entryname": "two", "entry": draw(words), "writable": False},
                ],
            },
        ],
        "hints": [],
    }
    if draw(st.booleans()):
        tool["stdin"] = "$(inputs.f.path)"
    file = {"class": "File", "location": "f.txt", "basename": "f.txt"}
    return Job(
        tool, {"a": one, "b": two, "l": draw(st.lists(words, min_size=2, max_size=3)), "f": file}, {"f.txt": "x"}
    )


# --- one change -----------------------------------------------------------------------------------------------------


def _other(draw: st.DrawFn, value: str) -> str:
    return draw(st.sampled_from([word for word in WORDS if word != value]))


def _rule(job: Job, name: str) -> Any:
    return next(rule for rule in job.tool["requirements"] if rule["class"] == name)


def _swap_positions(draw: st.DrawFn, job: Job) -> None:
    first, second = job.tool["inputs"][0], job.tool["inputs"][1]
    first["inputBinding"], second["inputBinding"] = second["inputBinding"], first["inputBinding"]


def _swap_arguments(draw: st.DrawFn, job: Job) -> None:
    first, second = job.tool["arguments"]
    first["position"], second["position"] = second["position"], first["position"]


def _argument(draw: st.DrawFn, job: Job) -> None:
    argument = draw(st.sampled_from(job.tool["arguments"]))
    argument["valueFrom"] = _other(draw, argument["valueFrom"])


def _prefix(draw: st.DrawFn, job: Job) -> None:
    draw(st.sampled_from(job.tool["inputs"]))["inputBinding"]["prefix"] = draw(st.sampled_from(WORDS))


def _prefix_joined(draw: st.DrawFn, job: Job) -> None:
    binding = draw(st.sampled_from(job.tool["inputs"][:2]))["inputBinding"]
    binding.update(prefix=draw(st.sampled_from(WORDS)), separate=False)


def _separator(draw: st.DrawFn, job: Job) -> None:
    job.tool["inputs"][2]["inputBinding"]["itemSeparator"] = draw(st.sampled_from([",", "/", "#"]))


def _unbound(draw: st.DrawFn, job: Job) -> None:
    del draw(st.sampled_from(job.tool["inputs"]))["inputBinding"]


def _command(draw: st.DrawFn, job: Job) -> None:
    job.tool["baseCommand"][1] = draw(st.sampled_from(["%s", "%s#", "#%s|", "%s\\n"]))


def _environment(draw: st.DrawFn, job: Job) -> None:
    variable = _rule(job, "EnvVarRequirement")["envDef"][0]
    variable["envValue"] = _other(draw, variable["envValue"])


def _variable(draw: st.DrawFn, job: Job) -> None:
    _rule(job, "EnvVarRequirement")["envDef"][0]["envName"] = draw(st.sampled_from(["W", "position", "id", "label"]))


def _entry(draw: st.DrawFn, job: Job) -> None:
    entry = draw(st.sampled_from(_rule(job, "InitialWorkDirRequirement")["listing"]))
    entry["entry"] = _other(draw, entry["entry"])


def _entry_name(draw: st.DrawFn, job: Job) -> None:
    _rule(job, "InitialWorkDirRequirement")["listing"][0]["entryname"] = draw(st.sampled_from(["id", "label", "three"]))


def _writable(draw: st.DrawFn, job: Job) -> None:
    _rule(job, "InitialWorkDirRequirement")["listing"][1]["writable"] = True


def _cores(draw: st.DrawFn, job: Job) -> None:
    _rule(job, "ResourceRequirement")["coresMin"] = 2


def _memory(draw: st.DrawFn, job: Job) -> None:
    _rule(job, "ResourceRequirement")["ramMin"] = draw(st.sampled_from([65, 128]))


def _stdout(draw: st.DrawFn, job: Job) -> None:
    job.tool["stdout"] = name = draw(st.sampled_from(["p.txt", "id", "o#.txt"]))
    job.tool["outputs"][0]["outputBinding"]["glob"] = name


def _stderr(draw: st.DrawFn, job: Job) -> None:
    job.tool["stderr"] = draw(st.sampled_from(["e.txt", "id"]))


def _stdin(draw: st.DrawFn, job: Job) -> None:
    if job.tool.pop("stdin", None) is None:
        job.tool["stdin"] = "$(inputs.f.path)"


def _glob(draw: st.DrawFn, job: Job) -> None:
    job.tool["outputs"][0]["outputBinding"]["glob"] = draw(st.sampled_from(["o.*", "o.txt*", "*.txt"]))


def _format(draw: st.DrawFn, job: Job) -> None:
    job.tool["outputs"][0]["format"] = draw(
        st.sampled_from(["http://edamontology.org/format_1929", "http://x.org/#a/b"])
    )


def _optional(draw: st.DrawFn, job: Job) -> None:
    job.tool["outputs"][0]["type"] = ["null", "File"]


def _secondary(draw: st.DrawFn, job: Job) -> None:
    job.tool["outputs"][0]["secondaryFiles"] = [{"pattern": draw(st.sampled_from([".x", "^.y"])), "required": False}]


def _codes(draw: st.DrawFn, job: Job) -> None:
    job.tool[draw(st.sampled_from(["successCodes", "temporaryFailCodes"]))] = [draw(st.sampled_from([3, 4]))]


def _version(draw: st.DrawFn, job: Job) -> None:
    job.tool[CWL_VERSION] = draw(st.sampled_from(["v1.0", "v1.1"]))


def _hint(draw: st.DrawFn, job: Job) -> None:
    packages = [{"package": draw(st.sampled_from(WORDS))}]
    job.tool["hints"] = [{"class": "SoftwareRequirement", "packages": packages}]


def _word(draw: st.DrawFn, job: Job) -> None:
    name = draw(st.sampled_from(["a", "b"]))
    job.inputs[name] = _other(draw, job.inputs[name])


def _item(draw: st.DrawFn, job: Job) -> None:
    number = draw(st.integers(0, len(job.inputs["l"]) - 1))
    job.inputs["l"][number] = _other(draw, job.inputs["l"][number])


def _more(draw: st.DrawFn, job: Job) -> None:
    job.inputs["l"].append(draw(st.sampled_from(WORDS)))


def _file_content(draw: st.DrawFn, job: Job) -> None:
    job.files["f.txt"] = draw(st.sampled_from(["y", "xx", ""]))


def _file_name(draw: st.DrawFn, job: Job) -> None:
    job.inputs["f"]["basename"] = job.inputs["f"]["location"] = name = draw(st.sampled_from(["g.txt", "f.t", "id"]))
    job.files[name] = job.files.pop("f.txt")


def _file_format(draw: st.DrawFn, job: Job) -> None:
    job.inputs["f"]["format"] = draw(st.sampled_from(["http://x.org/#a", "http://x.org/#b"]))


def _beside(draw: st.DrawFn, job: Job) -> None:
    job.files["g.txt"] = draw(st.sampled_from(["x", "y"]))
    job.inputs["f"]["secondaryFiles"] = [{"class": "File", "location": "g.txt", "basename": "g.txt"}]


CHANGES: tuple[Callable[[st.DrawFn, Job], None], ...] = (
    _swap_positions, _swap_arguments, _argument, _prefix, _prefix_joined, _separator, _unbound, _command, _environment,
    _variable, _entry, _entry_name, _writable, _cores, _memory, _stdout, _stderr, _stdin, _glob, _format, _optional,
    _secondary, _codes, _version, _hint, _word, _item, _more, _file_content, _file_name, _file_format, _beside,
)  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Job, Job, str]:
    """Two jobs that differ in one place, and the name of the place."""
    first = draw(jobs())
    second = copy.deepcopy(first)
    change = draw(st.sampled_from(CHANGES))
    change(draw, second)
    return first, second, change.__name__
