# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""cwltool's objects of a document -> WorkflowGraph: ports, links and steps as plain values."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, cast
from urllib.parse import urldefrag

from cwltool.process import Process, shortname
from cwltool.utils import aslist
from cwltool.workflow import Workflow, WorkflowStep

from airflow_hybrid.cwl.documents.default_files import Refused
from airflow_hybrid.cwl.documents.described import needs_of, tool_doc, varies
from airflow_hybrid.cwl.documents.resolved import (
    as_written,
    in_order,
    kind,
    original_version,
    plain_json,
    position,
    text,
)
from airflow_hybrid.cwl.documents.step_documents import StepDocuments
from airflow_hybrid.cwl.names import FORMATS, NAMESPACES, VALUE_FROM
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JsonValue, Port, Source, Step, StepInput, WorkflowGraph, WorkflowOutput

log = logging.getLogger(__name__)


class GraphBuilder:
    """Converts cwltool's objects of one document.

    :param refused: location of files that the document may not name -> the reason.
    """

    def __init__(
        self,
        process: Process,
        source: str,
        fetched: list[str],
        cache_dir: Path | None,
        refused: Mapping[str, Refused] | None = None,
    ) -> None:
        self._process = process
        self._source = source
        self._files = [url for url in fetched if urldefrag(url)[0] == url]
        self._documents = StepDocuments(process, source, self._files, cache_dir, refused or {})

    def graph(self) -> WorkflowGraph:
        if isinstance(self._process, Workflow):
            return self._workflow(self._process, "/", self._title(self._process))
        return self._single(self._process)

    def _title(self, process: Process) -> str:
        base, fragment = urldefrag(process.tool["id"])
        name = fragment.rsplit("/", 1)[-1] if fragment else base.rsplit("/", 1)[-1]
        return re.sub(r"\.(cwl|ya?ml|json)$", "", name)

    def _header(self, process: Process, path: str, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "path": path,
            "inputs": tuple(self._port(port, process) for port in as_written(process.tool["inputs"])),
            "doc": text(process.tool.get("doc")),
            "label": text(process.tool.get("label")),
            "source": self._source,
            "files": tuple(self._files) if path == "/" else (),
            "requirements": self._needed_to_validate(process) if path == "/" else None,
            "cwl_version": original_version(process),
        }

    def _needed_to_validate(self, process: Process) -> JsonValue:
        """What :func:`airflow_hybrid.cwl.given.run_inputs.validate_inputs` needs besides the ports."""
        needed = [
            item
            for item in plain_json([*process.hints, *process.requirements])
            if item["class"] in ("SchemaDefRequirement", "InlineJavascriptRequirement")
        ]
        if self._documents.formats and '"format"' in json.dumps(plain_json(process.tool["inputs"])):
            needed.append({"class": FORMATS, "triples": self._documents.formats})
        if self._process.metadata.get("$namespaces"):
            needed.append({"class": NAMESPACES, "prefixes": plain_json(self._process.metadata["$namespaces"])})
        return self._documents.portable(needed)

    def _port(self, port: Mapping[str, Any], process: Process) -> Port:
        document = self._documents.portable(plain_json(port))
        definitions = {}
        requirement, _ = process.get_requirement("SchemaDefRequirement")
        for definition in self._documents.portable(plain_json((requirement or {}).get("types", []))):
            definitions[definition["name"]] = definition
        return Port(
            name=shortname(port["id"]),
            type=readable(document["type"], definitions),
            doc=text(port.get("doc")),
            label=text(port.get("label")),
            default=document.get("default"),
            has_default="default" in port,
            document=document,
        )

    def _single(self, tool: Process) -> WorkflowGraph:
        """A tool at top level: a workflow of one step with the tool's name."""
        name = self._title(tool)
        path = f"/{name}"
        ports = [shortname(port["id"]) for port in tool.tool["inputs"]]
        outputs = [shortname(port["id"]) for port in tool.tool["outputs"]]
        step = {
            "id": f"#main/{name}",
            "in": [{"id": f"#main/{name}/{port}"} for port in ports],
            "out": [f"#main/{name}/{port}" for port in outputs],
        }
        header = self._header(tool, "/", name)
        return WorkflowGraph(
            **header,
            single=True,
            outputs=tuple(
                WorkflowOutput(
                    shortname(port["id"]),
                    self._port(port, tool).type,
                    (Source(path, shortname(port["id"])),),
                    {"id": shortname(port["id"])},
                )
                for port in as_written(tool.tool["outputs"])
            ),
            steps=(
                Step(
                    path=path,
                    kind=kind(tool),
                    inputs=tuple(StepInput(port, (Source(None, port),), {"id": port}, plain=True) for port in ports),
                    outputs=tuple(outputs),
                    document=self._documents.store(step, tool, path, [], []),
                    label=header["label"],
                    doc=header["doc"],
                    needs=needs_of(tool),
                    position=position(tool.tool),
                ),
            ),
        )

    def _workflow(self, workflow: Workflow, path: str, name: str) -> WorkflowGraph:
        prefix = path.rstrip("/")
        sources = {port["id"]: Source(None, shortname(port["id"])) for port in workflow.tool["inputs"]}
        for step in workflow.steps:
            for port in step.tool["outputs"]:
                sources[port["id"]] = Source(f"{prefix}/{shortname(step.id)}", shortname(port["id"]))
        steps = [self._step(step, raw, workflow, prefix, sources) for step, raw in in_order(workflow)]
        outputs = []
        for port in as_written(workflow.tool["outputs"]):
            connected = aslist(port.get("outputSource", []))
            _check_links(workflow, port, connected)
            outputs.append(
                WorkflowOutput(
                    shortname(port["id"]),
                    self._port(port, workflow).type,
                    tuple(sources[source] for source in connected),
                    self._entry(port),
                )
            )
        return WorkflowGraph(
            **self._header(workflow, path, name), outputs=tuple(outputs), steps=tuple(_sorted(steps, workflow))
        )

    def _entry(self, raw: Mapping[str, Any]) -> JsonValue:
        """An ``in`` entry or output parameter by its short name, without the parts in :class:`Source`."""
        document = self._documents.portable(plain_json(raw))
        for key in ("source", "outputSource", "type", "inputBinding", "_tool_entry"):
            document.pop(key, None)
        return {**document, "id": shortname(raw["id"])}

    def _step(
        self, step: WorkflowStep, raw: Mapping[str, Any], workflow: Workflow, prefix: str, sources: dict[str, Source]
    ) -> Step:
        path = f"{prefix}/{shortname(step.id)}"
        process = step.embedded_tool
        inputs = []
        defaults = {port["id"]: port["default"] for port in step.tool["inputs"] if "default" in port}
        # the checker reports it for a single source in a list with `pickValue: all_non_null`
        merges = {port["id"]: port["linkMerge"] for port in step.tool["inputs"] if "linkMerge" in port}
        for entry in as_written(raw["in"]):
            connected = aslist(entry.get("source", []))
            _check_links(workflow, entry, connected)
            document = self._entry(entry)
            if entry["id"] in defaults:
                document["default"] = self._documents.portable(plain_json(defaults[entry["id"]]))
            if entry["id"] in merges:
                document["linkMerge"] = merges[entry["id"]]
            plain = len(connected) == 1 and not document.keys() & {"linkMerge", "pickValue", "default"}
            inputs.append(
                StepInput(shortname(entry["id"]), tuple(sources[item] for item in connected), document, plain)
            )
        title = self._title(process)
        return Step(
            path=path,
            kind=kind(process),
            inputs=tuple(inputs),
            outputs=tuple(shortname(port["id"]) for port in step.tool["outputs"]),
            document=self._documents.store(
                raw, process, path, plain_json(workflow.requirements), plain_json(workflow.hints)
            ),
            label=text(raw.get("label")),
            doc=text(raw.get("doc")),
            tool_doc="" if isinstance(process, Workflow) else tool_doc(process),
            needs=() if isinstance(process, Workflow) else needs_of(process),
            scatter=tuple(shortname(port) for port in aslist(raw.get("scatter", []))),
            scatter_method=raw.get("scatterMethod"),
            when="when" in raw and "loop" not in raw,
            loop="loop" in raw,
            workflow=self._workflow(process, path, title) if isinstance(process, Workflow) else None,
            varies=kind(process) == "expression" and varies(process, raw),
            position=position(cast(Any, raw)),
        )


def _sorted(steps: list[Step], workflow: Workflow) -> list[Step]:
    """Topological order: by the number of steps in a row that one waits for, and then as in the document.

    :raises CwlError: steps wait for each other.
    """
    needs = {
        step.path: {source.step for port in step.inputs for source in port.sources if source.step} for step in steps
    }
    readers: dict[str, list[str]] = {step.path: [] for step in steps}
    for path, needed in needs.items():
        for other in needed:
            readers[other].append(path)
    open_needs = {path: len(needed) for path, needed in needs.items()}
    depths: dict[str, int] = {}
    ready = [path for path, count in open_needs.items() if not count]
    for path in ready:  # it grows meanwhile
        depths[path] = 1 + max((depths[other] for other in needs[path]), default=-1)
        for reader in readers[path]:
            open_needs[reader] -= 1
            if not open_needs[reader]:
                ready.append(reader)
    if len(depths) < len(needs):
        circle = ", ".join(sorted(_circle(needs)))
        raise CwlError(f"the steps {circle} depend on each other in a circle", where=position(workflow.tool))
    return sorted(steps, key=lambda step: depths[step.path])


def _circle(needs: Mapping[str, set[str]]) -> set[str]:
    """Steps that wait for each other, where there are some."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return set(error.args[1])
    return set()


def _check_links(workflow: Workflow, entry: Any, connected: Sequence[Any]) -> None:
    """Check requirements that cwltool only checks when the step runs.

    Several sources can be merged in two ways, so the author must declare the requirement. The meaning of ``valueFrom``
    is clear, and other runners accept it: that only causes a warning.
    """
    if len(connected) > 1 and not workflow.get_requirement("MultipleInputFeatureRequirement")[0]:
        raise CwlError(
            f"{shortname(entry['id'])} has several sources, but MultipleInputFeatureRequirement is missing",
            where=position(entry),
        )
    if "valueFrom" in entry and not workflow.get_requirement(VALUE_FROM)[0]:
        log.warning(
            "%s: %s has valueFrom, but %s is missing: it runs here, but not everywhere; add `%s: {}` to the "
            "workflow's requirements",
            position(entry),
            shortname(entry["id"]),
            VALUE_FROM,
            VALUE_FROM,
        )


def readable(kind: Any, definitions: Mapping[str, Any], enclosing: tuple[str, ...] = ()) -> Any:
    """A type with its definitions inlined and short names for fields and symbols."""
    if isinstance(kind, str):
        if kind in definitions and kind not in enclosing:
            return readable(definitions[kind], definitions, (*enclosing, kind))
        return shortname(kind) if "#" in kind else kind
    if isinstance(kind, list):
        return [readable(item, definitions, enclosing) for item in kind]
    if not isinstance(kind, dict):
        return kind
    inlined = dict(kind)
    if isinstance(inlined.get("name"), str):
        inlined["name"] = shortname(inlined["name"])
    if inlined.get("type") == "enum":
        inlined["symbols"] = [shortname(symbol) for symbol in inlined["symbols"]]
    elif inlined.get("type") == "record":
        fields = inlined.get("fields") or []
        inlined["fields"] = [
            {**field, "name": shortname(field["name"]), "type": readable(field["type"], definitions, enclosing)}
            for field in fields
        ]
    elif inlined.get("type") == "array":
        inlined["items"] = readable(inlined["items"], definitions, enclosing)
    elif "type" in inlined:
        inlined["type"] = readable(inlined["type"], definitions, enclosing)
    return inlined
