# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What cwltool bound as outputs -> what a task publishes; nothing outside the job's output directory."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_hybrid.cwl.site import JobSite, unveil
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject

_DERIVED_FIELDS = ("path", "dirname", "nameroot", "nameext")


def publish(value: Any, site: JobSite, to_uri: Callable[[str], str]) -> Any:
    """Make an output value fit for others: locations as URIs, size and checksum, no paths of the job's site."""
    if isinstance(value, list):
        return [publish(item, site, to_uri) for item in value]
    if not isinstance(value, Mapping):
        return value
    kind = value.get("class")
    if kind not in ("File", "Directory"):
        return {key: publish(item, site, to_uri) for key, item in value.items()}
    item = {key: entry for key, entry in value.items() if key not in _DERIVED_FIELDS and entry is not None}
    name = item.get("basename")
    if name is not None and (not isinstance(name, str) or "/" in name or name in ("", ".", "..")):
        raise CwlError(f"the basename of an output is {name!r}, which is not the name of a {kind}")
    location = item["location"]
    if location.startswith("_:"):
        del item["location"]
        if kind == "File":
            item.setdefault("contents", site.literals.get(location, ""))
    elif location.startswith("file://"):
        path = posixpath.normpath(unquote(location[len("file://") :]))
        _locate(item, path, site, to_uri)
    else:
        item["location"] = unveil(location)
        replaced = _replaced(item["location"], site)
        replica = site.path_of(location)
        if replica is None:
            raise CwlError(f"output {location} is neither in the output directory nor an input")
        if replaced:
            _locate(item, replaced, site, to_uri)
        elif kind == "File":
            _measured(item, replica, site)
    if "location" in item:
        item.pop("contents", None)
        item.pop("listing", None)
    for key in ("secondaryFiles", "listing"):
        if item.get(key):
            item[key] = [publish(entry, site, to_uri) for entry in item[key]]
    if not item.get("secondaryFiles", True):
        del item["secondaryFiles"]
    return item


def _replaced(location: str, site: JobSite) -> str | None:
    """The path in the output directory where the job put something of its own in the place of an input's link."""
    target = site.targets.get(location, "")
    fact = site.facts.files.get(target) if target.startswith(site.outdir + "/") else None
    return target if fact is not None and fact.kind != "?" and fact.realpath in (None, target) else None


def _measured(item: CwlObject, path: str, site: JobSite) -> None:
    """Size and checksum of an input that is handed on: as it came in, or as seen where it was used."""
    known = site.inputs.get(item["location"], {})
    seen = site.facts.files.get(path) or site.facts.files.get(site.targets.get(item["location"], ""))
    for key, fact in (("size", seen and seen.size), ("checksum", seen and seen.checksum)):
        value = item.get(key) or known.get(key) or fact
        if value is not None:
            item[key] = value


def _locate(item: CwlObject, path: str, site: JobSite, to_uri: Callable[[str], str]) -> None:
    """Give an output below outdir its URI, size and checksum; a symbolic link stands for what it points to."""
    fact = site.fs.stat(path)
    real = _checked(path, site)
    known = site.input_at(real) if real != path and not real.startswith(site.outdir + "/") else None
    item["location"] = known or to_uri(real)
    if fact.kind == "d":
        if known is None:
            _check_tree(path, site)
    else:
        item["size"] = fact.size
        if fact.checksum:
            item["checksum"] = fact.checksum


def _checked(path: str, site: JobSite) -> str:
    """The real path of an output.

    :raises CwlError: it leads out of the output directory and is not an input.
    """
    if path != site.outdir and not path.startswith(site.outdir + "/"):
        raise CwlError(f"output {path} is outside the job's output directory")
    fact = site.fs.stat(path)
    if fact.realpath is None or fact.realpath == path:
        return path
    root = site.facts.files.get(site.outdir)
    root_path = (root.realpath if root else None) or site.outdir
    real = fact.realpath
    if real == root_path or real.startswith(root_path + "/"):
        return site.outdir + real[len(root_path) :]
    if real.startswith(site.outdir + "/"):
        return real
    if site.input_at(real) is not None:
        return real
    for known in site.paths.values():
        seen = site.facts.files.get(known)
        if seen is not None and seen.realpath and (real == seen.realpath or real.startswith(seen.realpath + "/")):
            return known + real[len(seen.realpath) :]
    raise CwlError(f"output {path} is a symbolic link to {real}, outside the job's output directory")


def _check_tree(path: str, site: JobSite) -> None:
    pending = [path]
    while pending:
        folder = pending.pop()
        for name in site.facts.listings.get(folder, ()):
            entry = f"{folder}/{name}"
            _checked(entry, site)
            if site.fs.stat(entry).kind == "d" and site.facts.files[entry].realpath in (None, entry):
                pending.append(entry)
