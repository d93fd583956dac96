# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The document of each step: a workflow of that step alone, self-contained, the same wherever it was written."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwltool.command_line_tool import AbstractOperation, CommandLineTool, ExpressionTool
from cwltool.process import Process, shortname
from cwltool.update import ORIGINAL_CWLVERSION
from cwltool.utils import aslist
from cwltool.workflow import Workflow
from rdflib import OWL, RDFS

from airflow_hybrid.cwl.documents import cache
from airflow_hybrid.cwl.documents.default_files import Refused, marked
from airflow_hybrid.cwl.documents.resolved import in_order, original_version, plain_json, position
from airflow_hybrid.cwl.names import CWL_VERSION, FORMATS, STEP_PATH
from airflow_hybrid.errors import UnsupportedError
from airflow_hybrid.model import JsonValue, percent_encoded
from airflow_hybrid.model.locations import local_path

log = logging.getLogger(__name__)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STEP_FIELDS = ("scatter", "scatterMethod", "when", "loop", "outputMethod", "requirements", "hints", "label")
_ANY = ["null", "Any"]


class StepDocuments:
    """Writes the documents of one compiled document's steps to the cache.

    :ivar formats: the parts of the documents' ontologies that cwltool's check of file formats needs.
    """

    def __init__(
        self, process: Process, source: str, fetched: list[str], cache_dir: Path | None, refused: Mapping[str, Refused]
    ) -> None:
        self.formats = _formats(process)
        self._version = original_version(process)
        self._cache_dir = cache_dir
        self._refused = refused
        self._names: dict[str, str] = {}
        folder = source.rpartition("/")[0]
        for url in sorted(fetched):
            here, document = local_path(folder), local_path(url)
            if here is None or document is None:
                self._names[url] = url
            else:
                self._names[url] = f"cwl:{percent_encoded(os.path.relpath(document, here))}"

    def store(self, raw: Mapping[str, Any], process: Process, path: str, requirements: Any, hints: Any) -> str:
        """Write the document of one step: a workflow of that step alone, its ports connected by name."""
        name = shortname(raw["id"])

        def local(identifier: str) -> str:
            return f"#main/{name}/{shortname(identifier)}"

        step: dict[str, Any] = {"id": f"#main/{name}", "out": []}
        for field in _STEP_FIELDS:
            if field in raw:
                step[field] = plain_json(raw[field])
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
            port = {key: value for key, value in plain_json(entry).items() if key not in ("linkMerge", "pickValue")}
            short = shortname(entry["id"])
            step["in"].append({**port, "id": local(short), "source": f"#main/{short}"})
            inputs.append({"id": f"#main/{short}", "type": _ANY})
        outputs = []
        for out in raw["out"]:
            short = shortname(out if isinstance(out, str) else out["id"])
            step["out"].append(local(short))
            outputs.append({"id": f"#main/out/{short}", "type": _ANY, "outputSource": local(short)})
        step["run"] = self._process(process, path)
        document = {
            "class": "Workflow",
            "id": "#main",
            "label": path,
            "inputs": inputs,
            "outputs": outputs,
            "requirements": plain_json(requirements),
            "hints": plain_json(hints),
            "steps": [step],
            CWL_VERSION: self._version,
        }
        if self.formats and '"format"' in json.dumps(step):
            document[FORMATS] = self.formats
        return cache.write_document(self.portable(document), self._cache_dir)

    def _process(self, process: Process, path: str) -> dict[str, Any]:
        """A process with everything that it runs embedded."""
        check_process(process, path)
        document = {
            key: plain_json(value)
            for key, value in process.tool.items()
            if key not in ("steps", "cwlVersion", "$namespaces", "$schemas", ORIGINAL_CWLVERSION)
        }
        document["class"] = process.tool["class"]
        document[STEP_PATH] = path
        document[CWL_VERSION] = original_version(process)
        if isinstance(process, Workflow):
            document["steps"] = [
                {
                    **{key: plain_json(value) for key, value in raw.items() if key != "run"},
                    "run": self._process(step.embedded_tool, f"{path}/{shortname(step.id)}"),
                }
                for step, raw in in_order(process)
            ]
        return document

    def portable(self, document: JsonValue) -> Any:
        """Make identifiers relative to the top-level document, and number random ones: the same content then gives the
        same document wherever it is. Files that the document may not name are marked.
        """
        random: dict[str, str] = {}

        def renamed(value: Any) -> Any:
            if isinstance(value, dict):
                mapping = {key: renamed(item) for key, item in value.items()}
                if isinstance(value.get("id"), str):
                    mapping["id"] = self._names.get(value["id"], mapping["id"])
                return marked(mapping, self._refused)
            if isinstance(value, list):
                return [renamed(item) for item in value]
            if not isinstance(value, str) or ":" not in value[:12]:
                return value
            base, sign, fragment = value.partition("#")
            if sign and base in self._names:
                value = f"{self._names[base]}#{fragment}"
            elif not (value.startswith("_:") or (value.startswith("file://") and _UUID.search(value))):
                return value
            return _UUID.sub(lambda match: random.setdefault(match[0], f"anonymous{len(random)}"), value)

        return renamed(document)


def _formats(process: Process) -> list[list[str]]:
    """The parts of the documents' ``$schemas`` that cwltool's check of file formats reads."""
    graph = process.formatgraph
    if graph is None or "$schemas" not in json.dumps(plain_json(process.metadata)) + json.dumps(
        plain_json(process.tool)
    ):
        return []
    return [
        [str(subject), str(predicate), str(target)]
        for predicate in (RDFS.subClassOf, OWL.equivalentClass)
        for subject, _, target in graph.triples((None, predicate, None))
        if str(subject).startswith("http") and str(target).startswith("http")
    ]


def check_process(process: Process, path: str) -> None:
    """Report valid but unsupported features when the DAG is made, not when the job starts."""
    where = position(process.tool)
    if isinstance(process, AbstractOperation) or not isinstance(process, Workflow | CommandLineTool | ExpressionTool):
        raise UnsupportedError(f"step {path} is of class {process.tool['class']}: there is nothing to run", where=where)
