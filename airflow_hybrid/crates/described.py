# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A packed CWL document as a crate describes it: workflows, their steps, the tools that these run, and parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.crates.entities import WORKFLOW_FILE, Entities, Properties, reference, references
from airflow_hybrid.model.values import JsonValue

CWL = "https://w3id.org/workflowhub/workflow-ro-crate#cwl"
_PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_TYPES = {
    "string": "Text", "int": "Integer", "long": "Integer", "float": "Float", "double": "Float", "boolean": "Boolean",
    "File": "File", "Directory": "Dataset", "Any": "DataType", "record": "PropertyValue", "enum": "Text",
    "stdin": "File", "stdout": "File", "stderr": "File",
}  # fmt: skip
_SCALARS = (str, int, float, bool)


@dataclass
class Tool:
    """A process that a step runs.

    :ivar process: as the document has it; ``id``: of its entity.
    :ivar inputs: name of a port -> id of its parameter; ``outputs`` likewise.
    """

    id: str
    process: Mapping[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def is_workflow(self) -> bool:
        return self.process.get("class") == "Workflow"


@dataclass(frozen=True)
class DescribedStep:
    """A step of a workflow, at one place in the run.

    :ivar path: as in :class:`airflow_hybrid.model.workflow.Step`; a step of a tool that runs twice is at two paths.
    :ivar id: of its entity; ``above``: the workflow that it is in.
    :ivar image: of the container that the document asks for.
    :ivar position: in its workflow, from 0.
    """

    path: str
    id: str
    above: Tool
    tool: Tool
    written: Mapping[str, Any]
    image: str = ""
    position: int = 0


class Description:
    """The steps of a packed document.

    :param single: path of the only step, where the document is a tool.
    :ivar main: the workflow that was run; ``steps``: by path, outermost first.
    """

    def __init__(self, document: Mapping[str, Any], entities: Entities, single: str = "") -> None:
        self._entities = entities
        graph = document.get("$graph", [document])
        self._processes: dict[str, Mapping[str, Any]] = {}
        for top in graph:
            self._know(top)
        self._tools: dict[str, Tool] = {}
        self.steps: dict[str, DescribedStep] = {}
        process = self._processes["#main"]
        if process["class"] == "Workflow":
            self.main = self._tool(WORKFLOW_FILE, process)
            self._add_steps(self.main, "", [], 0)
        else:
            only = self._tool(f"{WORKFLOW_FILE}#main", process)
            self.main = Tool(WORKFLOW_FILE, {"class": "Workflow"}, only.inputs, only.outputs)
            step_id = f"#step-{single.strip('/')}"
            self.steps[single] = DescribedStep(single, step_id, self.main, only, {}, _image([process]))

    def _know(self, process: Mapping[str, Any]) -> None:
        """Note a process and those that are written in its steps, which other steps may refer to."""
        if "id" in process:
            self._processes[str(process["id"])] = process
        for step in process.get("steps", []):
            if isinstance(step["run"], dict):
                self._know(step["run"])

    def _tool(self, identifier: str, process: Mapping[str, Any]) -> Tool:
        if identifier not in self._tools:
            tool = Tool(identifier, process)
            names = _names(process)
            for kind, ids in (("input", tool.inputs), ("output", tool.outputs)):
                for port in process[f"{kind}s"]:
                    own = port["id"] if names[port["id"]] == 1 else f"{port['id']}/{kind}"
                    ids[_name(port["id"])] = self._parameter(port, f"{WORKFLOW_FILE}{own}")
            self._tools[identifier] = tool
        return self._tools[identifier]

    def _add_steps(self, workflow: Tool, path: str, around: list[Mapping[str, Any]], depth: int) -> None:
        above = [*around, workflow.process]
        for position, step in enumerate(_in_order(workflow.process["steps"])):
            run = step["run"]
            if not isinstance(run, str):  # written in the step, or the same as in another step
                run = run.get("$import") or run.get("id") or run
            process = self._processes[run] if isinstance(run, str) else run
            identifier = run if isinstance(run, str) else f"{step['id']}/run"
            tool = self._tool(f"{WORKFLOW_FILE}{identifier}", process)
            place = f"{path}/{_name(step['id'])}"
            image = _image([*above, step, process])
            step_id = f"{WORKFLOW_FILE}{step['id']}"
            self.steps[place] = DescribedStep(place, step_id, workflow, tool, step, image, position)
            if tool.is_workflow and depth < 64:
                self._add_steps(tool, place, [*above, step], depth + 1)

    # --- entities -----------------------------------------------------------------------------------------------

    def _parameter(self, port: Mapping[str, Any], identifier: str) -> str:
        kind = port.get("type")
        members = kind if isinstance(kind, list) else [kind]
        properties: Properties = {
            "additionalType": "Collection" if port.get("secondaryFiles") else _additional_type(kind),
            "name": _name(port["id"]),
            "description": _text(port.get("doc") or port.get("label")),
            "conformsTo": reference(_PARAMETER_PROFILE),
        }
        if "null" in members or "default" in port:
            properties["valueRequired"] = "False"
        if any(isinstance(member, dict) and member.get("type") == "array" for member in members):
            properties["multipleValues"] = "True"
        if isinstance(port.get("format"), str):
            properties["encodingFormat"] = port["format"]
        if isinstance(port.get("default"), _SCALARS):
            properties["defaultValue"] = str(port["default"])
        return self._entities.add(identifier, "FormalParameter", properties)

    def describe(self, used: Mapping[str, None]) -> None:
        """Add the entities of tools, steps and sub-workflows.

        :param used: ids of tools that have run. A workflow has these as its parts, and a sub-workflow of which nothing
            has run is left out: the document has it.
        """
        entities = self._entities
        entities.add(_PARAMETER_PROFILE, "CreativeWork", {"name": "FormalParameter", "version": "1.0-RELEASE"})
        parts: set[tuple[str, str]] = set()
        sources: dict[str, dict[str, str]] = {}
        for step in self.steps.values():
            is_left_out = step.tool.is_workflow and step.tool.id not in used
            if is_left_out or step.above.id not in entities.all:
                continue
            if step.tool.id not in entities.all:
                self._add_tool(step.tool)
            if step.tool.id in used and (step.above.id, step.tool.id) not in parts:
                parts.add((step.above.id, step.tool.id))
                entities.link(step.above.id, "hasPart", step.tool.id)
            if step.id in entities.all:
                continue
            if step.above.id not in sources:
                sources[step.above.id] = self._sources(step.above)
            text = _text(step.written.get("doc") or step.written.get("label"))
            shown = {"name": step.path.rsplit("/", 1)[1], "description": text, "position": str(step.position)}
            entities.add(step.id, "HowToStep", {**shown, "workExample": reference(step.tool.id)})
            entities.link(step.above.id, "step", step.id)
            for source, target in _links(step, sources[step.above.id]):
                entities.link(step.id, "connection", self._connection(source, target))
        for workflow in {step.above.id: step.above for step in self.steps.values()}.values():
            if workflow.id in entities.all:
                self._connect_outputs(workflow)

    def _add_tool(self, tool: Tool) -> None:
        process = tool.process
        properties: Properties = {
            "name": _text(process.get("label")) or tool.id.rpartition("#")[2],
            "description": _text(process.get("doc")),
            "input": references(tool.inputs.values()),
            "output": references(tool.outputs.values()),
        }
        if tool.is_workflow:
            kinds = ["SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
            self._entities.add(tool.id, kinds, {**properties, "programmingLanguage": reference(CWL)})
            return
        self._entities.add(tool.id, "SoftwareApplication", properties)

    def _sources(self, workflow: Tool) -> dict[str, str]:
        """What can be linked in a workflow, by the document's ids -> id of the parameter."""
        ids = {port["id"]: workflow.inputs[_name(port["id"])] for port in workflow.process.get("inputs", [])}
        for step in self.steps.values():
            if step.above is workflow:
                for name, parameter in step.tool.outputs.items():
                    ids[f"{step.written.get('id')}/{name}"] = parameter
        return ids

    def _connect_outputs(self, workflow: Tool) -> None:
        sources = self._sources(workflow)
        for port in workflow.process.get("outputs", []):
            for source in _listed(port.get("outputSource")):
                if source in sources:
                    target = workflow.outputs[_name(port["id"])]
                    self._entities.link(workflow.id, "connection", self._connection(sources[source], target))

    def _connection(self, source: str, target: str) -> str:
        ends = {"sourceParameter": reference(source), "targetParameter": reference(target)}
        return self._entities.add(self._entities.number("connection"), "ParameterConnection", ends)


def _names(process: Mapping[str, Any]) -> Counter[str]:
    """How many inputs, outputs and steps of a process have each id; a document may use one for several of these."""
    parts = [part for key in ("inputs", "outputs", "steps") for part in process.get(key, [])]
    return Counter(str(part["id"]) for part in parts)


def _links(step: DescribedStep, sources: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for entry in step.written.get("in", []):
        target = step.tool.inputs.get(_name(entry["id"]))
        for source in _listed(entry.get("source")):
            if target is not None and source in sources:
                yield sources[source], target


def _in_order(steps: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Steps so that each comes after those whose outputs it reads; a packed document has them in any order."""
    made_by = {out if isinstance(out, str) else out["id"]: step["id"] for step in steps for out in step["out"]}
    waits_for = {
        step["id"]: {made_by[s] for entry in step["in"] for s in _listed(entry.get("source")) if s in made_by}
        for step in steps
    }
    ordered: list[Mapping[str, Any]] = []
    done: set[str] = set()
    left = list(steps)
    while left:
        ready = [step for step in left if waits_for[step["id"]] <= done] or left
        ordered += ready
        done |= {step["id"] for step in ready}
        left = [step for step in left if step["id"] not in done]
    return ordered


def _image(around: list[Mapping[str, Any]]) -> str:
    """The image that a process asks for: the innermost requirement, else the innermost hint."""
    for key in ("requirements", "hints"):
        for holder in reversed(around):
            for requirement in _listed(holder.get(key)):
                if isinstance(requirement, dict) and requirement.get("class") == "DockerRequirement":
                    return str(requirement.get("dockerPull") or requirement.get("dockerImageId") or "")
    return ""


def _additional_type(kind: JsonValue) -> JsonValue:
    if isinstance(kind, list):
        members = sorted({str(_additional_type(member)) for member in kind if member != "null"})
        return members[0] if len(members) == 1 else members
    if isinstance(kind, dict):
        return _additional_type(kind["items"]) if kind.get("type") == "array" else _additional_type(kind.get("type"))
    return _TYPES.get(str(kind).removesuffix("[]").removesuffix("?"), "DataType")


def _text(value: JsonValue) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _name(identifier: str) -> str:
    return identifier.rpartition("#")[2].rpartition("/")[2]


def _listed(value: JsonValue) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
