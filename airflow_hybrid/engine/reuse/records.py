# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The record of a finished job: the locations and digests of its outputs. Pure."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.model import CwlObject, FileRef, SiteFacts, walking


def tree_digest(facts: SiteFacts, path: str) -> str | None:
    """A digest of the names, contents and owner's x bits below a folder; None if it is missing or contains links."""
    top = facts.files.get(path)
    if top is None or top.kind != "d" or path not in facts.listings:
        return None
    entries, pending = [], [path]
    while pending:
        folder = pending.pop()
        for name in facts.listings.get(folder, ()):
            at = f"{folder}/{name}"
            fact = facts.files.get(at)
            if fact is None or fact.realpath is not None or (fact.kind != "d" and not fact.checksum):
                return None
            entries.append([at[len(path) :], fact.kind, fact.checksum, fact.executable])
            if fact.kind == "d":
                pending.append(at)
    return "d" + hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()


def described(value: CwlObject, place: Place, task: str) -> dict[str, Any] | None:
    """The record of a job's outputs; None if one of them is elsewhere, or not known in full."""
    files: list[tuple[str, int, str]] = []
    trees: list[tuple[str, str]] = []

    def with_path(file: CwlObject) -> CwlObject:
        if "location" not in file:
            return file
        ref = FileRef.parse(file.pop("location"))
        if (ref.deployment, ref.location) != (place.host.deployment, place.host.location):
            raise ValueError("an output is elsewhere")
        if file["class"] == "File":
            files.append((ref.path, int(file["size"]), str(file["checksum"])))
        else:
            digest = tree_digest(place.facts, ref.path)
            if digest is None:
                raise ValueError("not all of a folder is known")
            trees.append((ref.path, digest))
        file["path"] = ref.path
        return file

    try:
        return {"outputs": walking.map_files(with_path, value), "files": files, "trees": trees, "task": task}
    except (ValueError, KeyError):
        return None


def is_sound(record: Mapping[str, Any]) -> bool:
    """Whether a record has the right shape, and its outputs only name files that it describes.

    Data from a location is input to be checked, not truth.
    """
    try:
        described = {
            path for path, size, checksum in record["files"] if isinstance(size, int) and checksum[:5] == "sha1$"
        }
        described |= {path for path, digest in record["trees"] if digest[:1] == "d"}
        normal = all(path.startswith("/") and posixpath.normpath(path) == path for path in described)
        return normal and isinstance(record["outputs"], dict) and _names_only(record["outputs"], described)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _names_only(value: Any, described: set[str]) -> bool:
    for item in walking.files(value):
        if "location" in item or ("path" in item and item["path"] not in described):
            return False
    return True


def with_locations(value: Any, place: Place) -> Any:
    """The outputs of a record for downstream tasks: Files and Directories have locations instead of paths."""

    def located(item: CwlObject) -> CwlObject:
        if "path" in item:
            item["location"] = place.uri(item.pop("path"))
        return item

    return walking.map_files(located, value)
