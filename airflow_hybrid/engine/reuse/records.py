# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The record of a finished job: where its outputs are, and what was in them. Pure."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.model import CwlObject, FileRef, SiteFacts


def tree_digest(facts: SiteFacts, path: str) -> str | None:
    """A digest of names, contents and owners' x bits below a folder; None if it is not there, or links are in it."""
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
    """The record of a job's outputs; None if one of them is not here, or not all of it is known."""
    files: list[tuple[str, int, str]] = []
    trees: list[tuple[str, str]] = []

    def plain(item: Any) -> Any:
        if isinstance(item, list):
            return [plain(entry) for entry in item]
        if not isinstance(item, Mapping):
            return item
        kept = {key: plain(entry) for key, entry in item.items() if key != "location"}
        if item.get("class") in ("File", "Directory") and "location" in item:
            ref = FileRef.parse(item["location"])
            if (ref.deployment, ref.location) != (place.host.deployment, place.host.location):
                raise ValueError("an output is elsewhere")
            if item["class"] == "File":
                files.append((ref.path, int(item["size"]), str(item["checksum"])))
            else:
                digest = tree_digest(place.facts, ref.path)
                if digest is None:
                    raise ValueError("not all of a folder is known")
                trees.append((ref.path, digest))
            kept["path"] = ref.path
        return kept

    try:
        return {"outputs": plain(value), "files": files, "trees": trees, "task": task}
    except (ValueError, KeyError):
        return None


def is_sound(record: Mapping[str, Any]) -> bool:
    """Whether a record has the shape of one, and its outputs name no file that it does not describe.

    What a location says is input, not truth.
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
    if isinstance(value, list):
        return all(_names_only(item, described) for item in value)
    if not isinstance(value, dict):
        return True
    if value.get("class") in ("File", "Directory") and (
        "location" in value or ("path" in value and value["path"] not in described)
    ):
        return False
    return all(_names_only(item, described) for item in value.values())


def with_locations(value: Any, place: Place) -> Any:
    if isinstance(value, list):
        return [with_locations(item, place) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: with_locations(item, place) for key, item in value.items()}
    if value.get("class") in ("File", "Directory") and "path" in value:
        kept["location"] = place.uri(kept.pop("path"))
    return kept
