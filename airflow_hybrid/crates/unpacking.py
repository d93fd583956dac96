# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Read a crate that anybody may have made: nothing is written outside its folder, and no more than its size allows."""

from __future__ import annotations

import json
import lzma
import os
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from airflow_hybrid.crates.crate import INPUTS_FILE, METADATA, OUTPUTS_FILE
from airflow_hybrid.errors import InputError
from airflow_hybrid.model.locations import local_path
from airflow_hybrid.model.values import CwlObject, is_too_deep, percent_decoded
from airflow_hybrid.model.walking import location_of, map_files
from airflow_hybrid.printable import redacted, shortened

MOST_MEMBERS = 100_000
MOST_METADATA = 256 << 20
_MOST_VALUES = {INPUTS_FILE: 16 << 20, OUTPUTS_FILE: 64 << 20}
"""bytes of JSON; values are checked against their types, which takes far longer than reading them"""
_CORRUPT = (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeError, RuntimeError, zlib.error, lzma.LZMAError)
MOST_UNPACKED, MOST_GROWTH = 1 << 30, 20
"""bytes that any crate may have when it is unpacked, and how many times its own size a larger one may have"""
_CHUNK = 1 << 20
_HINT = "a crate for `airflow hybrid run` is a zip file that `airflow hybrid prov` has written"
Checksum = Callable[[str], str | None]
"""``sha1$...`` of a file of this machine, by its path; None: it cannot be read"""


@dataclass(frozen=True)
class UnpackedCrate:
    """A crate in a folder.

    :ivar document: path of its CWL document; ``inputs``: of the run, with locations of this machine or as recorded.
    :ivar outputs: that the run had, by recorded values.
    """

    document: str
    inputs: CwlObject
    outputs: CwlObject
    folder: str


def unpack(path: str, folder: Path) -> UnpackedCrate:
    """Unpack a crate into a new folder.

    :raises InputError: it is no crate of a run, or could do harm.
    """
    try:
        folder.mkdir()
        with zipfile.ZipFile(path) as archive:
            members = _checked(archive, os.path.getsize(path), path)
            left = _most(os.path.getsize(path))
            for member in members:
                left -= _extract(archive, member, folder, left, path)
    except _CORRUPT as error:
        raise InputError(f"{path} cannot be unpacked: {error}", hint=_HINT) from error
    except OSError as error:
        raise InputError(f"{path} cannot be unpacked: {error.strerror or error}", hint=_HINT) from error
    document = folder / _main_entity(_json(folder, METADATA, path), path)
    if not document.is_file():
        raise InputError(f"{path} has no document {document.name}", hint=_HINT)
    outputs = _json(folder, OUTPUTS_FILE, path)
    return UnpackedCrate(str(document), _json(folder, INPUTS_FILE, path), outputs, str(folder))


def _most(size: int) -> int:
    return max(MOST_UNPACKED, MOST_GROWTH * size)


def _checked(archive: zipfile.ZipFile, size: int, shown: str) -> list[zipfile.ZipInfo]:
    """:raises InputError: a member must not be unpacked, or all of them are too large."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{shown} has {len(members):,} members: more than {MOST_MEMBERS:,} are not unpacked")
    if sum(member.file_size for member in members) > _most(size):
        raise InputError(f"{shown} would be {MOST_GROWTH} times as large when it is unpacked: it is not")
    names: set[str] = set()
    for member in members:
        problem = _problem(member, names)
        if problem:
            name = shortened(member.orig_filename, 200)
            raise InputError(f"{shown} has the member {name!r}, {problem}: it is not unpacked", hint=_HINT)
        names.add(member.filename.rstrip("/"))
    return members


def _problem(member: zipfile.ZipInfo, names: set[str]) -> str:
    name = member.filename.rstrip("/") if member.is_dir() else member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.orig_filename != member.filename or "\\" in name or any(ord(sign) < 32 for sign in name):
        return "whose name has signs that it must not have"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "which leads out of the crate"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is neither a file nor a folder"
    if member.flag_bits & 1:
        return "which is encrypted"
    return "which it has twice" if name in names else ""


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, most: int, shown: str) -> int:
    """Write one member into the folder, where all is new; -> its size."""
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o700 if (member.external_attr >> 16) & 0o100 else 0o600
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with archive.open(member) as source, os.fdopen(os.open(target, flags, mode), "wb") as sink:
        while data := source.read(_CHUNK):
            size += len(data)
            if size > most:
                raise InputError(f"{shown} is larger than it says: it is not unpacked")
            sink.write(data)
    return size


def _json(folder: Path, name: str, shown: str) -> dict[str, Any]:
    """:raises InputError: there is no such file, or it is no JSON object."""
    file = folder / name
    try:
        if file.stat().st_size > _MOST_VALUES.get(name, MOST_METADATA):
            raise InputError(f"{shown}: {name} is too large")
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{shown} has no {name}", hint=_HINT) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown}: {name} cannot be read: {error}", hint=_HINT) from None
    if not isinstance(value, dict) or (name != METADATA and is_too_deep(value)):
        raise InputError(f"{shown}: {name} is not what it should be", hint=_HINT)
    return value


def _main_entity(metadata: Mapping[str, Any], shown: str) -> str:
    """The path of the crate's workflow.

    :raises InputError: it names none, or one that is not in the crate.
    """
    graph = metadata.get("@graph")
    entities = {str(e.get("@id")): e for e in graph if isinstance(e, dict)} if isinstance(graph, list) else {}
    main = entities.get("./", {}).get("mainEntity")
    name = percent_decoded(str(main.get("@id"))) if isinstance(main, dict) else ""
    if not _is_inside(name) or not name.endswith(".cwl"):
        raise InputError(f"{shown} is not the record of a run of a CWL document", hint=_HINT)
    return posixpath.normpath(name)


def _is_inside(name: str) -> bool:
    is_relative = bool(name) and not name.startswith("/") and "://" not in name and "\0" not in name
    return is_relative and not posixpath.normpath(name).startswith("..")


def usable_inputs(crate: UnpackedCrate, given: CwlObject, checksum: Checksum) -> CwlObject:
    """The inputs of a crate's run, for another run here.

    A file that is not in the crate is used if it is here and has the recorded checksum. So nobody can make a crate that
    has files read which he has not seen.

    :param given: inputs from the user, which take precedence.
    :raises InputError: all files that cannot be used, in one message.
    """
    problems: list[str] = []

    def usable(file: dict[str, Any], name: str) -> dict[str, Any]:
        location = location_of(file)
        file.pop("path", None)
        if location is None or str(location).startswith("_:"):
            return file
        if file["class"] == "Directory" and isinstance(file.get("listing"), list):
            return _literal(file, str(location))
        where = _location(crate, file, str(location), checksum)
        if where is None:
            problems.append(f"{name}: {redacted(str(location))}")
            return file
        return {**file, "location": where}

    inputs = {
        name: map_files(partial(usable, name=name), value) for name, value in crate.inputs.items() if name not in given
    }
    if problems:
        shown = problems[:10] + ([f"... and {len(problems) - 10} more"] if len(problems) > 10 else [])
        raise InputError(
            "the crate only refers to these inputs, and they are not here as the run had them:\n  "
            + "\n  ".join(shown),
            hint="give the inputs on the command line, as for the document itself: --NAME PATH, or a job file",
        )
    return {**inputs, **given}


def _literal(folder: dict[str, Any], location: str) -> dict[str, Any]:
    """A folder as what its listing says: the files in it are judged one by one, like all others."""
    folder.pop("location", None)
    basename = posixpath.basename(percent_decoded(location).rstrip("/"))
    return {"basename": basename, **folder} if basename not in ("", ".", "..") else folder


def _location(crate: UnpackedCrate, file: Mapping[str, Any], location: str, checksum: Checksum) -> str | None:
    """Where a file of the crate's inputs is; None: nowhere where it may be read."""
    if location.startswith(("http://", "https://")):
        return location
    name = percent_decoded(location)
    if _is_inside(name) and ":" not in name.partition("/")[0]:
        inside = os.path.join(crate.folder, posixpath.normpath(name))
        return Path(inside).as_uri() if os.path.exists(inside) else None
    path = local_path(location) if location.startswith("file:") else None
    recorded = file.get("checksum")
    if path is None or file["class"] != "File" or not recorded or checksum(path) != recorded:
        return None
    return location
