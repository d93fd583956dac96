# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""When two jobs are the same (CWL v1.2 CommandLineTool 5.14, WorkReuse): a digest of all that determines the outputs.

The key is made from the *built* job: its command at the location, the files that are staged there, its inputs as its
expressions see them, the tool with all of its requirements, the granted resources, and the caller's knowledge about
the place (containers, programs, templates). Nothing is left out because of its name. Parts that differ between runs
without any effect are replaced by their meaning: the job's directory, paths of inputs (by content), the tool's id.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from cwl_utils import expression

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.jobs.runtime import plain_data
from airflow_hybrid.cwl.locations.job_paths import JobPaths
from airflow_hybrid.cwl.names import STEP_PATH
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, JobScript, JsonValue
from airflow_hybrid.model.walking import map_files, map_outermost_files

_VERSION = 5
"""increased when the meaning of a key or a record changes"""
_CWLTOOL = version("cwltool")
_SHA1 = re.compile(r"sha1\$([0-9a-f]{40})\Z")


def document_asks(job: PendingJob) -> bool | None:
    """The document's setting for reusing the job's outputs; None: it has none.

    A tool with network access (``networkAccess: true``) depends on more than its inputs: only the document itself can
    allow reuse.

    :raises CwlError: ``enableReuse`` does not evaluate to true or false.
    """
    requirement, _ = job.tool.get_requirement("WorkReuse")
    if requirement is None:
        network, _ = job.tool.get_requirement("NetworkAccess")
        return False if (network or {}).get("networkAccess") else None
    enabled = requirement.get("enableReuse", True)
    if expression.needs_parsing(enabled):
        enabled = job.evaluate(enabled, "enableReuse")
    if not isinstance(enabled, bool):
        raise CwlError(f"enableReuse is {enabled!r}, not true or false", where=job.label)
    return enabled


def without_digest(job: PendingJob) -> list[CwlObject]:
    """The job's located files without a checksum, and its directories."""
    return [item for item in job.files() if item["class"] == "Directory" or not _SHA1.match(item.get("checksum") or "")]


def claimed(job: PendingJob) -> dict[str, str]:
    """The checksums in the job's file objects: location -> SHA-1."""
    matches = {item["location"]: _SHA1.match(item.get("checksum") or "") for item in job.files()}
    return {location: match[1] for location, match in matches.items() if match}


def contents_of(job: PendingJob, digests: Mapping[str, str]) -> dict[str, str] | None:
    """The digest of each of the job's files, by location; None if one is unknown.

    :param digests: location -> digest, for the files from :func:`without_digest`.
    """
    contents = claimed(job)
    for item in job.files():
        location = item["location"]
        digest = contents.get(location) or digests.get(location)
        if digest is None:
            return None
        contents[location] = f"{item['class']} {digest}"
    return contents


def paths_of(job: PendingJob, contents: Mapping[str, str]) -> JobPaths:
    """The built job's paths and their meanings.

    :param contents: see :func:`contents_of`.
    """
    meanings = {
        path: f"{contents[location]} {posixpath.basename(path)}" for location, path in job.paths_at_location().items()
    }
    return JobPaths({**meanings, job.directory: "job"})


def reuse_key(
    job: PendingJob, script: JobScript, contents: Mapping[str, str], paths: JobPaths, place: JsonValue
) -> str | None:
    """``<tool>/<job>``, digests of the tool alone and of everything; None if an input is not one of its files.

    :param script: the built job; ``contents`` and ``paths``: the digests of its inputs, and their paths.
    :param place: whatever of the place determines the outputs, as JSON.
    """
    tool = job.tool.notes.get("reuse")
    if tool is None:
        tool = job.tool.notes["reuse"] = _NamelessTool(job)
    try:
        described = {
            "version": [_VERSION, _CWLTOOL],
            "tool": tool.digest,
            "files of the tool": [contents.get(location, location) for location in tool.locations],
            "inputs": _content(job.inputs, contents),
            "script": _replaced(dataclasses.asdict(script), paths),
            "granted": job.granted,
            "place": place,
        }
    except KeyError:
        return None
    return f"{tool.digest[:16]}/{_digest(described)}"


class _NamelessTool:
    """A tool without its own name.

    :ivar digest: of the whole tool, including its requirements and hints.
    :ivar locations: of files that it names, in order; the digest does not include them, only their contents count.
    """

    def __init__(self, job: PendingJob) -> None:
        self.locations: list[str] = []
        tool = plain_data(job.tool.tool)
        self._id = str(tool.pop("id", ""))
        tool.pop(STEP_PATH, None)  # ours: which step it is
        for kind in ("inputs", "outputs"):
            tool[kind] = [self._port(port) for port in tool.get(kind) or []]
        rules = [self._rule(plain_data(rule)) for rule in [*job.tool.hints, *job.tool.requirements]]
        formats = sorted(map(str, job.tool.formatgraph)) if job.tool.formatgraph is not None else []
        text = [self._without_locations(tool), self._without_locations(rules), formats]
        self.digest = hashlib.sha256(json.dumps(text, sort_keys=True, default=str).encode()).hexdigest()

    def _name(self, name: Any) -> Any:
        """An identifier, relative to the tool."""
        if not isinstance(name, str) or not self._id:
            return name
        for separator in ("#", "/"):
            if name.startswith(self._id + separator):
                return [name[len(self._id) + 1 :]]
        return name

    def _port(self, port: Any) -> Any:
        renamed = {**port, "id": self._name(port.get("id"))}
        if "type" in renamed:
            renamed["type"] = self._type(renamed["type"])
        return renamed

    def _rule(self, rule: Any) -> Any:
        if rule.get("class") == "SchemaDefRequirement":
            return {**rule, "types": self._type(rule.get("types"))}
        return rule

    def _type(self, value: Any) -> Any:
        """A type, in which fields, symbols and other types are identifiers (CWL v1.2 section 5.1.6 and on)."""
        if isinstance(value, list):
            return [self._type(item) for item in value]
        if not isinstance(value, dict):
            return self._name(value)
        renamed = dict(value)
        if "name" in renamed:
            renamed["name"] = self._name(renamed["name"])
        for key in ("type", "items", "fields", "symbols"):
            if key in renamed:
                renamed[key] = self._type(renamed[key])
        return renamed

    def _without_locations(self, value: Any) -> Any:
        return map_files(self._without_location, value)

    def _without_location(self, file: CwlObject) -> CwlObject:
        location = file.get("location")
        if isinstance(location, str) and not location.startswith("_:"):
            file["location"] = len(self.locations)
            self.locations.append(location)
        return file


def _content(value: Any, contents: Mapping[str, str], within: tuple[str, str] | None = None) -> Any:
    """An input value in which files' locations are replaced by their contents.

    :param within: location and content of the directory of a listing.
    :raises KeyError: a content is unknown.
    """
    return map_outermost_files(lambda item: _content_of(item, contents, within), value)


def _content_of(value: Mapping[str, Any], contents: Mapping[str, str], within: tuple[str, str] | None) -> Any:
    location = value.get("location")
    if not isinstance(location, str):
        return {key: _content(field, contents, within) for key, field in value.items()}
    if location.startswith("_:"):
        content: Any = None  # a literal: its other fields are its content
    elif within is not None and location.startswith(within[0] + "/"):
        content = [within[1], location[len(within[0]) :]]
    else:
        content = contents[location]
    parent = (location, str(content)) if value["class"] == "Directory" and content is not None else None
    fields = {
        key: _content(field, contents, parent if key == "listing" else None)
        for key, field in value.items()
        if key != "location"
    }
    return {"file": content, "fields": fields}


def _replaced(value: Any, paths: JobPaths) -> Any:
    """A built job with marks instead of its paths."""
    if isinstance(value, str):
        return paths.replace(value)
    if isinstance(value, bytes):
        return ["bytes", paths.replace(value.decode(errors="surrogateescape"))]
    if isinstance(value, Mapping):
        return [[_replaced(key, paths), _replaced(item, paths)] for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_replaced(item, paths) for item in value]
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()
