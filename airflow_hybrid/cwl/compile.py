# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL documents -> WorkflowGraph: cwltool loads, upgrades, checks and resolves; here the result is taken apart."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from urllib.parse import urldefrag

import yaml
from cwltool.command_line_tool import AbstractOperation, CommandLineTool, ExpressionTool
from cwltool.context import LoadingContext
from cwltool.errors import UnsupportedRequirement
from cwltool.load_tool import load_tool
from cwltool.process import Process, shortname, use_custom_schema
from cwltool.update import ORIGINAL_CWLVERSION
from cwltool.utils import aslist
from cwltool.workflow import Workflow, WorkflowStep
from rdflib import OWL, RDFS
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarfloat import ScalarFloat
from schema_salad.fetcher import DefaultFetcher

from airflow_hybrid.cwl import cache, messages
from airflow_hybrid.cwl.inputs import NAMESPACES
from airflow_hybrid.cwl.runtime import CWL_VERSION, FORMATS, STEP_PATH, prepare
from airflow_hybrid.errors import CwlError, UnsupportedError
from airflow_hybrid.model import JsonValue, Port, Source, Step, StepInput, WorkflowGraph, WorkflowOutput

log = logging.getLogger(__name__)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EXTENSIONS = {
    "v1.0": "extensions.yml",
    "v1.1": "extensions-v1.1.yml",
    "v1.2": "extensions-v1.2.yml",
    "v1.3.0-dev1": "extensions-v1.3.yml",
}
_STEP_FIELDS = ("scatter", "scatterMethod", "when", "loop", "outputMethod", "requirements", "hints", "label")
_ANY = ["null", "Any"]


def compile_document(
    path_or_uri: str, *, fragment_id: str | None = None, cache_dir: Path | None = None
) -> WorkflowGraph:
    """Load, upgrade, check and resolve a CWL v1.0 - v1.2 document (and v1.3's loops).

    The steps' documents are written to the cache (:func:`airflow_hybrid.cwl.cache.read_document`).

    :param path_or_uri: a path, or a ``file:``, ``http:`` or ``https:`` URI; ``#id`` names a process of a ``$graph``.
    :param fragment_id: the same, without the ``#``.
    :raises CwlError: what is wrong, with ``where`` = ``file:line:column``.
    :raises UnsupportedError: valid CWL that needs what is not to be had here.
    """
    prepare()
    _enable_extensions()
    base, _, fragment = path_or_uri.partition("#")
    fragment = fragment_id or fragment
    source = base if "://" in base else Path(base).absolute().as_uri()
    if source.startswith("file://") and "://" not in base and not Path(base).is_file():
        raise CwlError(f"no such CWL file: {base}")
    fetched: dict[str, None] = {}
    with messages.caught() as caught:
        try:
            process = load_tool(f"{source}#{fragment}" if fragment else source, _loading_context(fetched))
            graph = _Compiler(process, source, list(fetched), cache_dir).graph()
        except (CwlError, OSError):
            raise
        except Exception as error:
            raise _explained(error, source) from error
    seen: set[str | None] = set()
    for text in caught.warnings:
        reason = re.search(r"JSHINT: E\d+: (.*)", text)
        where = messages.plain(text)[0]
        if reason and where not in seen:  # not an error: JSHint does not know the newest syntax
            seen.add(where)
            log.warning("%s: the expression may not be valid JavaScript: %s", where, reason[1])
    return graph


@functools.cache
def _enable_extensions() -> None:
    """The extensions of cwltool (Loop, MPI, CUDA ...) are valid in documents that declare the namespace."""
    for version, name in _EXTENSIONS.items():
        use_custom_schema(version, "http://commonwl.org/cwltool", files("cwltool").joinpath(name).read_text("utf-8"))


def _loading_context(fetched: dict[str, None]) -> LoadingContext:
    class RecordingFetcher(DefaultFetcher):
        """Notes what a document was made of."""

        def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
            text: str = super().fetch_text(url, content_types)
            if not url.startswith("https://w3id.org/cwl/"):
                fetched[url] = None
            return text

    context = LoadingContext()
    context.fetcher_constructor = RecordingFetcher
    context.enable_dev = True
    context.relax_path_checks = True
    return context


def _explained(error: Exception, source: str) -> CwlError:
    where, message = messages.plain(str(error))
    kind: type[CwlError] = CwlError
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnsupportedRequirement | UnsupportedError):
            kind = UnsupportedError
        if isinstance(cause, MarkedYAMLError | yaml.MarkedYAMLError) and cause.problem_mark is not None:
            mark = cause.problem_mark
            where = messages.position(str(mark.name), mark.line + 1, mark.column + 1)
            message = f"not valid YAML: {cause.problem}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, StopIteration):
        message = "the document is empty"
    elif not message:
        message = type(error).__name__
    feature = re.search(r"\b(\w+FeatureRequirement) not in requirements", message)
    hint = f"add `{feature[1]}: {{}}` to the workflow's requirements" if feature else None
    return kind(message, where=where or _frame_position(error) or messages.position(source, 1, 1), hint=hint)


def _frame_position(error: BaseException) -> str:
    """Where in the document cwltool was when it raised an error without a position."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        found = _position(trace.tb_frame.f_locals.get("toolpath_object")) or found
        trace = trace.tb_next
    return found


class _Compiler:
    """Takes cwltool's objects of one document apart."""

    def __init__(self, process: Process, source: str, fetched: list[str], cache_dir: Path | None) -> None:
        self._process = process
        self._source = source
        self._files = [url for url in fetched if urldefrag(url)[0] == url]
        self._cache_dir = cache_dir
        self._names: dict[str, str] = {}
        folder = source.rpartition("/")[0]
        for url in sorted(self._files):
            local = url.startswith("file://") and source.startswith("file://")
            name = os.path.relpath(url[len("file://") :], folder[len("file://") :]) if local else url
            self._names[url] = f"cwl:{name}" if local else url
        self._formats = _formats(process)

    # --- the graph --------------------------------------------------------------------------------------------

    def graph(self) -> WorkflowGraph:
        if isinstance(self._process, Workflow):
            return self._workflow(self._process, "/", self._title(self._process))
        return self._single(self._process)

    def _title(self, process: Process) -> str:
        base, fragment = urldefrag(process.tool["id"])
        name = fragment.rsplit("/", 1)[-1] if fragment else base.rsplit("/", 1)[-1]
        return re.sub(r"\.(cwl|ya?ml|json)$", "", name)

    def _header(self, process: Process, path: str, name: str) -> dict[str, Any]:
        requirements = [
            item
            for item in [*_json(process.hints), *_json(process.requirements)]
            if item["class"] in ("SchemaDefRequirement", "InlineJavascriptRequirement")
        ]
        if self._formats:
            requirements.append({"class": FORMATS, "triples": self._formats})
        if self._process.metadata.get("$namespaces"):
            requirements.append({"class": NAMESPACES, "prefixes": _json(self._process.metadata["$namespaces"])})
        return {
            "name": name,
            "path": path,
            "inputs": tuple(self._port(port, process) for port in _as_written(process.tool["inputs"])),
            "doc": _text(process.tool.get("doc")),
            "label": _text(process.tool.get("label")),
            "source": self._source,
            "files": tuple(self._files) if path == "/" else (),
            "requirements": self._portable(requirements),
        }

    def _port(self, port: Mapping[str, Any], process: Process) -> Port:
        document = self._portable(_json(port))
        definitions = {}
        requirement, _ = process.get_requirement("SchemaDefRequirement")
        for definition in self._portable(_json((requirement or {}).get("types", []))):
            definitions[definition["name"]] = definition
        return Port(
            name=shortname(port["id"]),
            type=_readable(document["type"], definitions),
            doc=_text(port.get("doc")),
            label=_text(port.get("label")),
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
            outputs=tuple(
                WorkflowOutput(
                    shortname(port["id"]),
                    self._port(port, tool).type,
                    (Source(path, shortname(port["id"])),),
                    {"id": shortname(port["id"])},
                )
                for port in _as_written(tool.tool["outputs"])
            ),
            steps=(
                Step(
                    path=path,
                    kind=_kind(tool),
                    inputs=tuple(StepInput(port, (Source(None, port),), {"id": port}, plain=True) for port in ports),
                    outputs=tuple(outputs),
                    document=self._store(step, tool, path, [], []),
                    label=header["label"],
                    doc=header["doc"],
                    position=_position(tool.tool),
                ),
            ),
        )

    def _workflow(self, workflow: Workflow, path: str, name: str) -> WorkflowGraph:
        prefix = path.rstrip("/")
        sources = {port["id"]: Source(None, shortname(port["id"])) for port in workflow.tool["inputs"]}
        for step in workflow.steps:
            for port in step.tool["outputs"]:
                sources[port["id"]] = Source(f"{prefix}/{shortname(step.id)}", shortname(port["id"]))
        steps = [self._step(step, raw, workflow, prefix, sources) for step, raw in _in_order(workflow)]
        outputs = []
        for port in _as_written(workflow.tool["outputs"]):
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
        """An ``in`` entry or output parameter under its short name, without what :class:`Source` says."""
        document = self._portable(_json(raw))
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
        for entry in raw["in"]:
            connected = aslist(entry.get("source", []))
            _check_links(workflow, entry, connected)
            document = self._entry(entry)
            if entry["id"] in defaults:
                document["default"] = self._portable(_json(defaults[entry["id"]]))
            plain = len(connected) == 1 and not document.keys() & {"linkMerge", "pickValue", "default"}
            inputs.append(
                StepInput(shortname(entry["id"]), tuple(sources[item] for item in connected), document, plain)
            )
        title = self._title(process)
        return Step(
            path=path,
            kind=_kind(process),
            inputs=tuple(inputs),
            outputs=tuple(shortname(port["id"]) for port in step.tool["outputs"]),
            document=self._store(raw, process, path, _json(workflow.requirements), _json(workflow.hints)),
            label=_text(raw.get("label")),
            doc=_text(raw.get("doc")),
            scatter=tuple(shortname(port) for port in aslist(raw.get("scatter", []))),
            scatter_method=raw.get("scatterMethod"),
            when="when" in raw and "loop" not in raw,
            loop="loop" in raw,
            workflow=self._workflow(process, path, title) if isinstance(process, Workflow) else None,
            position=_position(cast(Any, raw)),
        )

    # --- the steps' documents ---------------------------------------------------------------------------------

    def _store(self, raw: Mapping[str, Any], process: Process, path: str, requirements: Any, hints: Any) -> str:
        """Write the document of one step: a workflow of that step alone, its ports connected by name."""
        name = shortname(raw["id"])

        def local(identifier: str) -> str:
            return f"#main/{name}/{shortname(identifier)}"

        step: dict[str, Any] = {"id": f"#main/{name}", "out": []}
        for field in _STEP_FIELDS:
            if field in raw:
                step[field] = _json(raw[field])
        if "scatter" in step:
            step["scatter"] = [local(port) for port in aslist(step["scatter"])]
        for entry in step.get("loop", ()):
            entry["id"] = local(entry["id"])
            if "outputSource" in entry:
                connected = entry["outputSource"]
                entry["outputSource"] = (
                    local(connected) if isinstance(connected, str) else [local(item) for item in connected]
                )
        inputs = []
        step["in"] = []
        for entry in raw["in"]:
            port = {key: value for key, value in _json(entry).items() if key not in ("linkMerge", "pickValue")}
            short = shortname(entry["id"])
            step["in"].append({**port, "id": local(short), "source": f"#main/{short}"})
            inputs.append({"id": f"#main/{short}", "type": _ANY})
        outputs = []
        for out in raw["out"]:
            short = shortname(out if isinstance(out, str) else out["id"])
            step["out"].append(local(short))
            outputs.append({"id": f"#main/out/{short}", "type": _ANY, "outputSource": local(short)})
        step["run"] = self._process_document(process, path)
        document = {
            "class": "Workflow",
            "id": "#main",
            "label": path,
            "inputs": inputs,
            "outputs": outputs,
            "requirements": requirements,
            "hints": hints,
            "steps": [step],
            CWL_VERSION: _version(self._process),
        }
        if self._formats and '"format"' in json.dumps(step):
            document[FORMATS] = self._formats
        return cache.write_document(self._portable(document), self._cache_dir)

    def _process_document(self, process: Process, path: str) -> dict[str, Any]:
        """A process with everything that it runs embedded."""
        _check_process(process, path)
        document = {
            key: _json(value)
            for key, value in process.tool.items()
            if key not in ("steps", "cwlVersion", "$namespaces", "$schemas", ORIGINAL_CWLVERSION)
        }
        document["class"] = process.tool["class"]
        document[STEP_PATH] = path
        document[CWL_VERSION] = _version(process)
        if isinstance(process, Workflow):
            document["steps"] = [
                {
                    **{key: _json(value) for key, value in raw.items() if key != "run"},
                    "run": self._process_document(step.embedded_tool, f"{path}/{shortname(step.id)}"),
                }
                for step, raw in _in_order(process)
            ]
        return document

    def _portable(self, document: JsonValue) -> Any:
        """Identifiers relative to the top-level document, and counted instead of random ones: the same content
        gives the same document wherever it lies.
        """
        random: dict[str, str] = {}

        def renamed(value: Any) -> Any:
            if isinstance(value, dict):
                found = {key: renamed(item) for key, item in value.items()}
                if isinstance(value.get("id"), str):
                    found["id"] = self._names.get(value["id"], found["id"])
                return found
            if isinstance(value, list):
                return [renamed(item) for item in value]
            if not isinstance(value, str) or ":" not in value[:12]:
                return value
            base, sign, fragment = value.partition("#")
            if sign and base in self._names:
                value = f"{self._names[base]}#{fragment}"
            elif not (value.startswith("_:") or (value.startswith("file://") and _UUID.search(value))):
                return value
            return _UUID.sub(lambda found: random.setdefault(found[0], f"anonymous{len(random)}"), value)

        return renamed(document)


def _formats(process: Process) -> list[list[str]]:
    """What cwltool's check of file formats looks at in the documents' ``$schemas``."""
    graph = process.formatgraph
    if graph is None or "$schemas" not in json.dumps(_json(process.metadata)) + json.dumps(_json(process.tool)):
        return []
    return [
        [str(subject), str(predicate), str(target)]
        for predicate in (RDFS.subClassOf, OWL.equivalentClass)
        for subject, _, target in graph.triples((None, predicate, None))
        if str(subject).startswith("http") and str(target).startswith("http")
    ]


def _json(value: Any) -> Any:
    """Plain JSON of what ruamel read. ``1.23e5`` is written without a fraction, as cwltool does."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, ScalarFloat):
        return int(value) if cast(Any, value)._exp and float(value).is_integer() else float(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return value if isinstance(value, float) else str(value)


def _text(value: Any) -> str:
    return "\n".join(str(line) for line in value) if isinstance(value, list) else str(value or "")


def _version(process: Process) -> str:
    return str(process.metadata.get(ORIGINAL_CWLVERSION) or process.metadata.get("cwlVersion") or "v1.2")


def _kind(process: Process) -> str:
    if isinstance(process, Workflow):
        return "workflow"
    return "expression" if isinstance(process, ExpressionTool) else "tool"


def _position(item: Any) -> str:
    lc = getattr(item, "lc", None)
    filename = getattr(lc, "filename", None)
    if lc is None or filename is None:
        return ""
    return messages.position(str(filename), (lc.line or 0) + 1, (lc.col or 0) + 1)


def _in_order(workflow: Workflow) -> Iterator[tuple[WorkflowStep, Mapping[str, Any]]]:
    """Steps as the document lists them, with their own entries (cwltool shuffles its objects)."""
    steps = {step.id: step for step in workflow.steps}
    for raw in _as_written(workflow.tool["steps"]):
        yield steps[raw["id"]], raw


def _as_written(items: Any) -> list[Any]:
    """In the order of the document: schema-salad sorts what is written as a map."""
    return sorted(items, key=lambda item: (item.lc.line or 0) if getattr(item, "lc", None) else 0)


def _sorted(steps: list[Step], workflow: Workflow) -> list[Step]:
    """Topological order; otherwise that of the document."""
    needs = {
        step.path: {source.step for port in step.inputs for source in port.sources if source.step} for step in steps
    }
    found: list[Step] = []
    done: set[str] = set()
    while len(found) < len(steps):
        ready = [step for step in steps if step.path not in done and needs[step.path] <= done]
        if not ready:
            cycle = ", ".join(step.path for step in steps if step.path not in done)
            raise CwlError(f"the steps {cycle} depend on each other in a circle", where=_position(workflow.tool))
        found += ready
        done |= {step.path for step in ready}
    return found


def _check_links(workflow: Workflow, entry: Any, connected: Sequence[Any]) -> None:
    """Requirements that cwltool asks for only when the step runs."""
    if len(connected) > 1 and not workflow.get_requirement("MultipleInputFeatureRequirement")[0]:
        raise CwlError(
            f"{shortname(entry['id'])} has several sources and MultipleInputFeatureRequirement is missing",
            where=_position(entry),
        )
    if "valueFrom" in entry and not workflow.get_requirement("StepInputExpressionRequirement")[0]:
        raise CwlError(
            f"{shortname(entry['id'])} has valueFrom and StepInputExpressionRequirement is missing",
            where=_position(entry),
        )


def _check_process(process: Process, path: str) -> None:
    """What is valid and cannot be run here is said when the DAG is made, not when the job starts."""
    where = _position(process.tool)
    if isinstance(process, AbstractOperation) or not isinstance(process, Workflow | CommandLineTool | ExpressionTool):
        raise UnsupportedError(f"step {path} is of class {process.tool['class']}: there is nothing to run", where=where)
    if not isinstance(process, CommandLineTool):
        return
    requirement, required = process.get_requirement("DockerRequirement")
    if required:
        raise UnsupportedError(
            f"step {path} requires a container (DockerRequirement), which this version cannot start",
            where=_position(requirement) or where,
            hint="bind the step to a deployment that has its software, and move DockerRequirement to `hints`",
        )
    if requirement is not None:
        log.info("%s: DockerRequirement among the hints of %s is ignored: its deployment is used as it is", where, path)


def _readable(kind: Any, definitions: Mapping[str, Any], seen: tuple[str, ...] = ()) -> Any:
    """A type with its definitions inlined and short names for fields and symbols."""
    if isinstance(kind, str):
        if kind in definitions and kind not in seen:
            return _readable(definitions[kind], definitions, (*seen, kind))
        return shortname(kind) if "#" in kind else kind
    if isinstance(kind, list):
        return [_readable(item, definitions, seen) for item in kind]
    if not isinstance(kind, dict):
        return kind
    found = dict(kind)
    if isinstance(found.get("name"), str):
        found["name"] = shortname(found["name"])
    if found.get("type") == "enum":
        found["symbols"] = [shortname(symbol) for symbol in found["symbols"]]
    elif found.get("type") == "record":
        fields = found.get("fields") or []
        found["fields"] = [
            {**field, "name": shortname(field["name"]), "type": _readable(field["type"], definitions, seen)}
            for field in fields
        ]
    elif found.get("type") == "array":
        found["items"] = _readable(found["items"], definitions, seen)
    elif "type" in found:
        found["type"] = _readable(found["type"], definitions, seen)
    return found
