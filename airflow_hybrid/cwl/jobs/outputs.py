# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs bound by cwltool -> the values that a task publishes; nothing outside the job's output directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_hybrid import settings
from airflow_hybrid.cwl.locations.location import JobLocation
from airflow_hybrid.cwl.locations.paths import is_below, refuse_replaced, unveil
from airflow_hybrid.cwl.values.several_names import canonical
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, FileFact, not_json, percent_decoded
from airflow_hybrid.model.files import SPECIAL
from airflow_hybrid.model.locations import tidy_path
from airflow_hybrid.model.walking import map_outermost_files

_NOT_JSON_HINT = "values are passed between steps as JSON, which cannot represent this: use a string, or a file"
_DERIVED_FIELDS = ("path", "dirname", "nameroot", "nameext")


def publish(value: Any, site: JobLocation, to_uri: Callable[[str], str]) -> Any:
    """Prepare an output value for other tasks: locations as URIs, size and checksum, no paths of the job's site."""
    return map_outermost_files(lambda item: _published(item, site, to_uri), value)


def _published(value: Mapping[str, Any], site: JobLocation, to_uri: Callable[[str], str]) -> CwlObject:
    """A File or Directory for other tasks."""
    kind = value["class"]
    file = {key: entry for key, entry in value.items() if key not in _DERIVED_FIELDS and entry is not None}
    _check_name(file.get("basename"), kind)
    members = file.pop("listing", None)
    location = file["location"]
    if location.startswith("_:"):
        del file["location"]
        if kind == "File":
            file.setdefault("contents", site.literals.get(location, ""))
        elif members:
            file["listing"] = [publish(member, site, to_uri) for member in members]
    elif (path := _path_of(location, kind)) is not None:
        _locate(file, path, site, to_uri)
    else:
        _hand_on(file, site, to_uri)
    if "location" in file:
        file.pop("contents", None)
    if file.get("secondaryFiles"):
        file["secondaryFiles"] = [publish(entry, site, to_uri) for entry in file["secondaryFiles"]]
    else:
        file.pop("secondaryFiles", None)
    return file


def _check_name(name: Any, kind: str) -> None:
    if name is not None and (not isinstance(name, str) or "/" in name or name in ("", ".", "..")):
        raise CwlError(f"the basename of an output is {name!r}, which is not the name of a {kind}")


def _hand_on(file: CwlObject, site: JobLocation, to_uri: Callable[[str], str]) -> None:
    """An output that is an input keeps its location, unless the job has replaced it.

    :raises CwlError: it is not an input.
    """
    location = file["location"]
    file["location"] = canonical(unveil(location))
    replaced = _replaced(file["location"], site)
    replica = site.path_of(location)
    if replica is None:
        raise CwlError(f"output {percent_decoded(location)} is neither in the output directory nor an input")
    if replaced:
        _locate(file, replaced, site, to_uri)
    elif file["class"] == "File":
        _measured(file, replica, site)


def _path_of(location: str, kind: str) -> str | None:
    """:raises CwlError: the location that a tool gives for an output is not the URI of one file."""
    try:
        return tidy_path(location)
    except ValueError as error:
        raise CwlError(f"the location of an output {kind} cannot be used: {error}") from None


def check_json(outputs: CwlObject) -> None:
    """:raises CwlError: an output contains a value that JSON cannot represent, so that no other task could read it."""
    for name, value in outputs.items():
        problem = not_json(value)
        if problem:
            raise CwlError(f"output {name!r} holds {problem}", hint=_NOT_JSON_HINT)


def _replaced(location: str, site: JobLocation) -> str | None:
    """The path in the output directory where the job replaced an input's link by its own file."""
    target = site.targets.get(location, "")
    fact = site.facts.files.get(target) if target.startswith(site.outdir + "/") else None
    return target if fact is not None and fact.kind != "?" and fact.realpath in (None, target) else None


def _measured(file: CwlObject, path: str, site: JobLocation, link: FileFact | None = None) -> None:
    """Add size and checksum of an input that is passed on: from its object, or as seen where it was used.

    If the job may have changed it, only what was seen after the job counts.
    """
    if site.may_be_updated(path):
        content = site.fs.content_of(path)
        file["size"], file["checksum"] = content.size, content.checksum
        return
    known = site.inputs.get(file["location"], {})
    fact = site.facts.files.get(path) or site.facts.files.get(site.targets.get(file["location"], "")) or link
    for key, measured in (("size", fact and fact.size), ("checksum", fact and fact.checksum)):
        value = file.get(key) or known.get(key) or measured
        if value is not None:
            file[key] = value


def _locate(file: CwlObject, path: str, site: JobLocation, to_uri: Callable[[str], str]) -> None:
    """Give an output below outdir its URI, size and checksum; a symbolic link is replaced by its target.

    :raises CwlError: it leads out of the output directory and is not an input.
    """
    real = site.real(path)
    site.fs.refuse_special(path)
    fact = site.fs.stat(path)
    known = None if is_below(real, site.outdir) else site.input_at(real)
    file["location"] = known or to_uri(real)
    if fact.kind == "d":
        if known is None and _has_links(real, site):
            del file["location"]
            file["listing"] = _LinkedMembers(site, to_uri).of(real, ())
        return
    if known is not None:
        _measured(file, real, site, fact)
        return
    refuse_replaced(real, site.facts)
    file["size"] = fact.size
    if fact.checksum:
        file["checksum"] = fact.checksum


def _has_links(folder: str, site: JobLocation) -> bool:
    """Whether there are valid links in a folder or below it; each folder is checked once.

    :raises CwlError: one leads out of the output directory, and not to an input.
    """
    has_own: dict[str, bool] = {}
    folders_in: dict[str, list[str]] = {}
    pending = [folder]
    while pending:
        current = pending.pop()
        if current in site.linked or current in has_own:
            continue
        has_own[current], folders_in[current] = _look_into(current, site)
        pending.extend(folders_in[current])
    # the members of a folder were visited after the folder itself
    for current in reversed(has_own):
        site.linked[current] = has_own[current] or any(site.linked[inner] for inner in folders_in[current])
    return site.linked[folder]


def _look_into(folder: str, site: JobLocation) -> tuple[bool, list[str]]:
    """Whether there are valid links in a folder, and its subfolders."""
    has_links, folders = False, []
    for name in site.facts.listings.get(folder, ()):
        entry = f"{folder}/{name}"
        fact = site.facts.files.get(entry)
        if fact is not None and fact.special:
            site.left_out.append(f"{entry[len(site.outdir) + 1 :]} ({SPECIAL[fact.special]})")
        elif site.real(entry) != entry:
            has_links = True
        elif site.fs.stat(entry).kind == "d":
            folders.append(entry)
    return has_links, folders


class _LinkedMembers:
    """The members of a folder with links in it, each with its real location.

    Readers of a published folder do not follow links in it, because a job could still make others.
    """

    def __init__(self, site: JobLocation, to_uri: Callable[[str], str]) -> None:
        self._site, self._to_uri = site, to_uri
        self._count = 0

    def of(self, folder: str, above: tuple[str, ...]) -> list[CwlObject]:
        """:param above: the folders that contain it, through links or not."""
        members = []
        for name in self._site.fs.names(folder):
            self._count += 1
            most = settings.current().output_members
            if self._count > most:
                raise CwlError(
                    f"following its links, the output {above[0] if above else folder} has over {most} members"
                )
            member = self._member(f"{folder}/{name}", name, (*above, folder))
            if member is not None:
                members.append(member)
        return members

    def _member(self, path: str, name: str, above: tuple[str, ...]) -> CwlObject | None:
        site = self._site
        kind = site.fs.stat(path).kind
        if kind == "?":  # a dangling link, a FIFO: CWL has no class for it
            return None
        file: CwlObject = {"class": "File" if kind == "f" else "Directory", "location": "", "basename": name}
        real = site.real(path)
        if kind == "d" and is_below(real, site.outdir):
            if any(is_below(folder, real) for folder in above):
                return None  # a link to a folder that contains it
            if _has_links(real, site):
                del file["location"]
                file["listing"] = self.of(real, above)
                return file
        _locate(file, path, site, self._to_uri)
        return file
