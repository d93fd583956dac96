# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""When two jobs are the same (CWL v1.2 CommandLineTool 5.14, WorkReuse): a digest of all that decides a job's outputs.

That is the tool (its content, not where its document lies or which step runs it), the inputs (files by content and
name), the resources if the tool looks at them, and what the caller says of the place (its container).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from cwl_utils import expression

from airflow_hybrid.cwl.job import PendingJob
from airflow_hybrid.cwl.runtime import STEP_PATH, plain_data
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, JsonValue

_VERSION = 2
"""grows when the meaning of a key or a record changes"""
_SAYS_NOTHING = frozenset({"id", "label", "doc", "position", "lc", STEP_PATH})
_NO_MATTER = frozenset({"WorkReuse", "ToolTimeLimit", "ResourceRequirement", "SoftwareRequirement"})
_SHA1 = re.compile(r"sha1\$([0-9a-f]{40})\Z")


def wants_reuse(job: PendingJob) -> bool:
    """Whether the document lets the job's outputs be taken from another run.

    A tool that may use the network (``networkAccess: true``) sees more than its inputs: it has to say
    ``enableReuse: true`` itself.

    :raises CwlError: ``enableReuse`` does not give true or false.
    """
    requirement, _ = job.tool.get_requirement("WorkReuse")
    if requirement is None:
        network, _ = job.tool.get_requirement("NetworkAccess")
        return not (network or {}).get("networkAccess")
    enabled = requirement.get("enableReuse", True)
    if expression.needs_parsing(enabled):
        enabled = job.evaluate(enabled, "enableReuse")
    if not isinstance(enabled, bool):
        raise CwlError(f"enableReuse is {enabled!r}, not true or false", where=job.label)
    return enabled


def without_digest(job: PendingJob) -> list[CwlObject]:
    """The job's located files whose content nothing is said of, and its directories."""
    return [item for item in job.files() if item["class"] == "Directory" or not _SHA1.match(item.get("checksum") or "")]


def claimed(job: PendingJob) -> dict[str, str]:
    """What is said of the job's files: location -> SHA-1."""
    found = {item["location"]: _SHA1.match(item.get("checksum") or "") for item in job.files()}
    return {location: match[1] for location, match in found.items() if match}


def reuse_key(job: PendingJob, digests: Mapping[str, str], place: JsonValue) -> str | None:
    """``<tool>/<job>``, digests of the tool alone and of all of it; None where the content of an input is not known.

    :param digests: location -> digest of content, of what :func:`without_digest` names.
    :param place: what of the place decides the outputs (a container's image), as JSON.
    """
    try:
        inputs = _content(job.inputs, digests)
    except KeyError:
        return None
    tool = job.tool.notes.get("reuse")
    if tool is None:
        tool = job.tool.notes["reuse"] = _tool(job)
    described: dict[str, Any] = {"v": _VERSION, "tool": tool["digest"], "inputs": inputs, "place": place}
    if tool["runtime"]:
        asked = job.resources
        described["resources"] = [asked.cores, asked.ram_mib, asked.tmpdir_mib, asked.outdir_mib]
    return f"{tool['digest'][:16]}/{_digest(described)}"


def _tool(job: PendingJob) -> dict[str, Any]:
    tool = job.tool
    rules = [item for item in [*tool.hints, *tool.requirements] if item.get("class") not in _NO_MATTER]
    content = _named_shortly(plain_data([tool.tool, rules, tool.metadata]))
    text = json.dumps(content, sort_keys=True, default=str)
    return {"digest": hashlib.sha256(text.encode()).hexdigest(), "runtime": "runtime" in text}


def _named_shortly(value: Any) -> Any:
    """Without identifiers' paths: the same tool in another document is the same tool."""
    if isinstance(value, list):
        return [_named_shortly(item) for item in value]
    if isinstance(value, Mapping):
        kept = {key: _named_shortly(item) for key, item in value.items() if key not in _SAYS_NOTHING}
        if isinstance(value.get("id"), str) and "type" in value:
            kept["id"] = value["id"].rpartition("#")[2].rpartition("/")[2]  # a port: its name says what it is
        return kept
    if isinstance(value, str) and "#" in value[:200] and re.match(r"(cwl:|file:|_:|#)[^\s$({]*\Z", value):
        return value.rpartition("#")[2].rpartition("/")[2]
    return value


def _content(value: Any, digests: Mapping[str, str]) -> Any:
    """An input value with files by their content.

    :raises KeyError: it is not known.
    """
    if isinstance(value, list):
        return [_content(item, digests) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class") not in ("File", "Directory"):
        return {key: _content(item, digests) for key, item in value.items()}
    found = {key: value[key] for key in ("class", "basename", "format") if key in value}
    location = value["location"]
    if location.startswith("_:"):
        found["contents"] = value.get("contents")
        found["listing"] = _content(value.get("listing") or [], digests)
    else:
        match = _SHA1.match(value.get("checksum") or "") if value["class"] == "File" else None
        found["digest"] = match[1] if match else digests[location]
    found["secondaryFiles"] = _content(value.get("secondaryFiles") or [], digests)
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
