# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run as a crate: a zip file with the metadata, the document, the values of the run, and copies of files."""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_hybrid.crates.actions import RUN_ACTION, Actions
from airflow_hybrid.crates.data import Data
from airflow_hybrid.crates.described import CWL, Description
from airflow_hybrid.crates.enclosed import MOST_BYTES, Enclosed, Opened, write_copy
from airflow_hybrid.crates.entities import WORKFLOW_FILE, Entities, Properties, reference, references, timestamp
from airflow_hybrid.crates.facts import RunFacts
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model.values import JsonValue, percent_decoded

METADATA = "ro-crate-metadata.json"
INPUTS_FILE, OUTPUTS_FILE = "primary-job.json", "primary-output.json"
"""the run's input and output object, under the names that CWLProv gives them"""
_RO_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    _WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
_HALVES = re.compile("[\ud800-\udfff]")
"""halves of surrogate pairs, which file names that are not UTF-8 have: JSON can have them as escapes only"""
_MOST_INDENTED = 2000
"""entities in metadata that people may read"""
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_RIGHTS = "The license of the files of this run was not recorded."


@dataclass(frozen=True)
class CrateOptions:
    """What a crate has copies of.

    :ivar outputs: and ``inputs``: of the run's output and input files; otherwise it only refers to them.
    :ivar most_bytes: of all copies.
    """

    outputs: bool = False
    inputs: bool = False
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True)
class WrittenCrate:
    """A crate that was written.

    :ivar copies: number of copies of the run's files; ``elsewhere``: files and folders that it should have a copy of,
        but only refers to (:attr:`Enclosed.elsewhere`).
    """

    path: str
    copies: int
    elsewhere: tuple[str, ...]


def write_crate(facts: RunFacts, path: str, opened: Opened, options: CrateOptions) -> WrittenCrate:
    """Write the crate of a run; a file that is there is replaced when the new one is complete.

    :param opened: opens files of this machine.
    :raises TransferError: a file cannot be copied, or was changed since the run.
    :raises ConfigError: the crate cannot be written.
    """
    enclosed = Enclosed()
    if options.inputs:
        enclosed.add("inputs", facts.inputs)
    if options.outputs:
        enclosed.add("outputs", facts.outputs or {})
    copies = len(enclosed.copies)
    enclosed.add_document_files(facts.document_files)
    enclosed.check_size(options.most_bytes)
    metadata = metadata_of(facts, enclosed)
    texts = {
        METADATA: metadata,
        WORKFLOW_FILE: facts.document,
        INPUTS_FILE: enclosed.inside(facts.inputs),
        OUTPUTS_FILE: enclosed.inside(facts.outputs or {}),
    }
    target = Path(path).absolute()
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".airflow_hybrid-", suffix=".zip")
        try:
            with os.fdopen(handle, "wb") as file:
                _write(zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED), texts, enclosed, opened, options.most_bytes)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise ConfigError(f"the crate cannot be written to {target}: {error.strerror or error}") from error
    return WrittenCrate(str(target), copies, tuple(enclosed.elsewhere))


def _write(
    archive: zipfile.ZipFile, texts: Mapping[str, JsonValue], enclosed: Enclosed, opened: Opened, most_bytes: int
) -> None:
    with archive:
        for name, value in texts.items():
            archive.writestr(name, _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", _text(value)))
        left = most_bytes
        for copy in enclosed.copies.values():
            left -= write_copy(archive, copy, opened, left)


def _text(value: JsonValue) -> str:
    """JSON for programs and people: each entity of a graph has a line. (The standard library indents slowly.)"""
    if isinstance(value, Mapping) and len(value.get("@graph", ())) > _MOST_INDENTED:
        lines = ",\n".join(json.dumps(entity, ensure_ascii=False) for entity in value["@graph"])
        return f'{{"@context": {json.dumps(value["@context"])}, "@graph": [\n{lines}\n]}}\n'
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def metadata_of(facts: RunFacts, enclosed: Enclosed) -> dict[str, Any]:
    """The JSON-LD of a run's crate.

    :raises HybridError: nothing is known of any job.
    """
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    entities = Entities()
    description = Description(facts.document, entities, facts.single)
    _main_entity(facts, description, entities)
    data = Data(entities, enclosed)
    actions = Actions(facts, description, entities, data)
    actions.add()
    description.describe(actions.used)
    _files(facts, enclosed, entities)
    crate = ROCrate(gen_preview=False, version="1.1")
    crate.metadata.extra_contexts.append(_TERMS)
    crate.metadata["conformsTo"] = references((_RO_CRATE, _WORKFLOW_CRATE))
    root = crate.root_dataset
    for name, value in _root(facts, entities).items():
        root[name] = value
    for identifier, (name, version) in _PROFILES.items():
        entities.add(identifier, "CreativeWork", {"name": name, "version": version})
    for identifier, properties in entities.all.items():
        crate.add(ContextEntity(crate, identifier, properties=properties))
    generated: dict[str, Any] = crate.metadata.generate()
    return generated


def _root(facts: RunFacts, entities: Entities) -> Properties:
    files = (WORKFLOW_FILE, INPUTS_FILE, OUTPUTS_FILE, *entities.data)
    root: Properties = {
        "name": f"Run {facts.run_id} of {facts.name}",
        "description": f"Run {facts.run_id} of {facts.dag_id}: its document, steps, jobs, files and places.",
        "license": _RIGHTS,
        "conformsTo": references(_PROFILES),
        "hasPart": references(dict.fromkeys(files)),
        "mainEntity": reference(WORKFLOW_FILE),
        "mentions": references([RUN_ACTION]),
    }
    if facts.ended is not None:
        root["datePublished"] = timestamp(facts.ended)
    return root


def _main_entity(facts: RunFacts, description: Description, entities: Entities) -> None:
    language: Properties = {
        "name": "Common Workflow Language",
        "alternateName": "CWL",
        "identifier": reference("https://w3id.org/cwl/"),
        "url": reference("https://www.commonwl.org/"),
        "version": str(facts.document.get("cwlVersion", "")),
    }
    entities.add(CWL, "ComputerLanguage", language)
    process: Mapping[str, Any] = next((p for p in facts.document.get("$graph", []) if p["id"] == "#main"), {})
    doc = process.get("doc") or ""
    properties: Properties = {
        "name": facts.name,
        "description": "\n".join(map(str, doc)) if isinstance(doc, list) else str(doc),
        "programmingLanguage": reference(CWL),
        "input": references(description.main.inputs.values()),
        "output": references(description.main.outputs.values()),
    }
    entities.add(WORKFLOW_FILE, ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"], properties)


def _files(facts: RunFacts, enclosed: Enclosed, entities: Entities) -> None:
    """The files that a crate itself has, beside copies of the run's files."""
    for name, what in ((INPUTS_FILE, "input object"), (OUTPUTS_FILE, "output object")):
        properties: Properties = {
            "name": f"The run's {what}, as CWL has it",
            "encodingFormat": "application/json",
            "about": reference(RUN_ACTION),
        }
        entities.add(name, "File", properties)
    for identifier, copy in enclosed.copies.items():
        if not copy.checksum:
            named = {"name": percent_decoded(identifier).rpartition("/")[2], "about": reference(WORKFLOW_FILE)}
            entities.add(identifier, "File", named)
            entities.data[identifier] = None
