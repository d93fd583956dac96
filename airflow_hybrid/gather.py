# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Bringing a workflow's outputs to ``outdir``: a folder of this machine, or an object store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import posixpath
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine import Logger
from airflow_hybrid.errors import TransferError
from airflow_hybrid.hooks.data_mover import DataMover, StageRequest
from airflow_hybrid.hooks.local import LocalHost
from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, CwlObject, FileRef, JsonValue, LineageEntry


async def gather(
    outputs: CwlObject, outdir: str, deployments: Mapping[str, Deployment], links: JsonValue, log: Logger
) -> tuple[CwlObject, list[LineageEntry]]:
    """Bring every File and Directory of ``outputs`` to ``outdir``.

    Names are kept; of two outputs with one name the file of the later is called ``name_2`` (as cwltool does). What
    ``outdir`` held under the same name is replaced.

    :param outdir: path or ``file:`` URL of this machine, or an URL that Airflow's object storage knows (``s3://``).
    :return: the CWL output object with locations in ``outdir``, and the lineage.
    :raises TransferError: something could not be brought, or arrived changed.
    """
    if "://" in outdir and not outdir.startswith("file://"):
        with tempfile.TemporaryDirectory(prefix="airflow_hybrid_outputs_") as folder:
            value, lineage = await _to_folder(outputs, folder, deployments, links, log)
            return _upload(value, folder, outdir), lineage
    folder = FileRef.parse(outdir).path if outdir.startswith("file://") else os.path.abspath(outdir)
    return await _to_folder(outputs, folder, deployments, links, log)


async def _to_folder(
    outputs: CwlObject, folder: str, deployments: Mapping[str, Deployment], links: JsonValue, log: Logger
) -> tuple[CwlObject, list[LineageEntry]]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    value: CwlObject = json.loads(json.dumps(outputs))  # a copy in which no object stands in two places
    host = LocalHost()
    requests: list[StageRequest] = []
    near: list[tuple[FileRef, str, Mapping[str, Any]]] = []
    names = _Names()

    def place(item: dict[str, Any], into: str) -> None:
        """Give ``item`` its place in ``into``; secondary files stay beside their primary."""
        source = item.get("location")
        name = str(item.get("basename") or posixpath.basename(str(source)))
        if "/" in name or name in ("", ".", ".."):
            raise TransferError(f"an output has the unusable name {name!r}")
        literal = source is None or str(source).startswith("_:")
        target, new = names.take(f"{into}/{name}", id(item) if literal else str(source))
        if literal:
            _literal(item, target, place)
        elif new:
            _remove(target)
            ref = _here(str(source), deployments)
            if ref is not None:
                near.append((ref, target, item))
            else:
                requests.append(StageRequest.of(item, host, target))
        item["location"] = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, target).uri
        item["basename"] = name
        for key in ("path", "dirname"):
            item.pop(key, None)
        for secondary in item.get("secondaryFiles") or []:
            place(secondary, into)

    for item in _files(value):
        place(item, folder)
    lineage = await asyncio.to_thread(lambda: [_copy(*order) for order in near])
    if requests:
        lineage += await DataMover(deployments, links).stage(requests)
    for item in _files(value):
        _describe(item)
    if lineage:
        log.info("%d outputs brought to %s", len(lineage), folder)
    return value, lineage


class _Names:
    """Which output has which path in ``outdir``."""

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str | int], str] = {}
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, path: str, source: str | int) -> tuple[str, bool]:
        """``path``, or ``path_2`` ... where another output has that name; and whether it is new.

        :param source: the output's location, or a number of its own for one that is a literal.
        """
        if (path, source) in self._paths:
            return self._paths[path, source], False
        candidate, count = path, self._last.get(path, 1)
        while candidate in self._taken:
            count += 1
            candidate = f"{path}_{count}"
        self._last[path] = count
        self._taken.add(candidate)
        self._paths[path, source] = candidate
        return candidate, True


def _here(uri: str, deployments: Mapping[str, Deployment]) -> FileRef | None:
    """The file at ``uri`` if it is one of this machine's: then it need not be sent as a stream."""
    if not uri.startswith(("file:", "hybrid:")):
        return None
    ref = FileRef.parse(uri)
    deployment = deployments.get(ref.deployment)
    local = ref.deployment == LOCAL_DEPLOYMENT or (
        # what another user's jobs made is read as that user
        deployment is not None and deployment.type == "local" and not deployment.config.get("run_as")
    )
    return ref if local else None


def _copy(ref: FileRef, target: str, item: Mapping[str, Any]) -> LineageEntry:
    """Copy a file or folder of this machine; a file gets its name when it is whole and its checksum is right."""
    return _copy_folder(ref, target) if item["class"] == "Directory" else _copy_file(ref, target, item.get("checksum"))


def _copy_folder(ref: FileRef, target: str) -> LineageEntry:
    """Copy a folder: what its links lead to is copied too, since the job's directory will go."""
    began, size = time.monotonic(), 0

    def empty_or_circular(folder: str, names: list[str]) -> set[str]:
        here = f"{os.path.realpath(folder)}/"
        links = {name: os.path.realpath(f"{folder}/{name}") for name in names if os.path.islink(f"{folder}/{name}")}
        empty = {name for name, end in links.items() if not os.path.exists(end) or here.startswith(f"{end}/")}
        # a FIFO that is opened waits for its other end; whoever collected the outputs has named it
        special = {name for name in names if not _is_plain(f"{folder}/{name}")}
        return empty | special

    def copy(source: str, sink: str) -> str:
        nonlocal size
        shutil.copy(source, sink)
        size += os.path.getsize(sink)
        return sink

    try:
        shutil.copytree(ref.path, target, ignore=empty_or_circular, copy_function=copy)
    except OSError as error:
        raise TransferError(
            f"cannot copy {ref.path} to {target}: {error.strerror or error}",
            hint="is the disk full, is `outdir` writable?",
        ) from error
    uri = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, target).uri
    return LineageEntry(ref.uri, uri, "copy", size, time.monotonic() - began)


def _is_plain(path: str) -> bool:
    """Whether it is a file or a folder, or a link to one."""
    return not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path)


def _copy_file(ref: FileRef, target: str, checksum: str | None) -> LineageEntry:
    """Copy a file of this machine."""
    began, temporary = time.monotonic(), f"{target}.part"
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    try:
        with open(ref.path, "rb") as source, open(temporary, "wb") as sink:
            while data := source.read(1 << 20):
                digest.update(data)
                size += sink.write(data)
            os.fchmod(sink.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
        found = f"sha1${digest.hexdigest()}"
        if checksum is not None and checksum != found:
            raise TransferError(
                f"{ref.path} was changed after it was produced: its checksum is {found}, not {checksum}",
                hint="clear the task that made it, and it is made again",
            )
        os.replace(temporary, target)
    except OSError as error:
        raise TransferError(
            f"cannot copy {ref.path} to {target}: {error.strerror}", hint="is the disk full, is `outdir` writable?"
        ) from error
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    uri = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, target).uri
    return LineageEntry(ref.uri, uri, "copy", size, time.monotonic() - began, found)


def _remove(path: str) -> None:
    """What a run before this one (or a try of it) left under an output's name."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _literal(item: dict[str, Any], target: str, place: Any) -> None:
    """A File or Directory that exists as a value only."""
    if item["class"] == "File":
        Path(target).write_text(str(item.pop("contents", "")), encoding="utf-8")
        return
    Path(target).mkdir(parents=True, exist_ok=True)
    for member in item.get("listing") or []:
        place(member, target)


def _describe(item: dict[str, Any]) -> None:
    """Say of a Directory what is in it, and of every File its size and checksum, as read from ``outdir``."""
    for secondary in item.get("secondaryFiles") or []:
        _describe(secondary)
    path = FileRef.parse(item["location"]).path
    if item["class"] == "Directory":
        item["listing"] = [_entry(entry) for entry in sorted(os.scandir(path), key=lambda entry: entry.name)]
    elif "checksum" not in item:
        with open(path, "rb") as file:
            item["checksum"] = f"sha1${_sha1(file)}"
        item["size"] = os.path.getsize(path)


def _entry(entry: os.DirEntry[str]) -> dict[str, Any]:
    uri = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, entry.path).uri
    # JSON has no name that is not UTF-8: the location has its bytes, the basename is only to be read
    name = os.fsencode(entry.name).decode(errors="replace")
    found = {"class": "Directory" if entry.is_dir() else "File", "location": uri, "basename": name}
    if not (entry.is_symlink() and f"{entry.path}/".startswith(f"{os.path.realpath(entry.path)}/")):
        _describe(found)  # but not of a link to a folder that it is in
    return found


def _sha1(file: BinaryIO) -> str:
    digest = hashlib.sha1(usedforsecurity=False)  # the checksum that CWL v1.2 section 4.1 ("File") defines
    while data := file.read(1 << 20):
        digest.update(data)
    return digest.hexdigest()


def _files(value: JsonValue) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("class") in ("File", "Directory"):
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _files(item)


def _upload(value: CwlObject, folder: str, outdir: str) -> CwlObject:
    from airflow.sdk import ObjectStoragePath

    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            target = ObjectStoragePath(f"{outdir.rstrip('/')}/{path.relative_to(folder).as_posix()}")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with path.open("rb") as source, target.open("wb") as sink:  # type: ignore[no-untyped-call]
                    shutil.copyfileobj(source, sink, 1 << 20)
            except OSError as error:
                raise TransferError(
                    f"cannot write {target}: {error}", hint="see the object store's connection"
                ) from error
    prefix = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, folder).uri

    def relocate(item: JsonValue) -> JsonValue:
        if isinstance(item, dict):
            return {k: relocate(v) for k, v in item.items()}
        if isinstance(item, list):
            return [relocate(v) for v in item]
        if isinstance(item, str) and item.startswith(prefix + "/"):
            return outdir.rstrip("/") + item[len(prefix) :]
        return item

    relocated: CwlObject = relocate(value)
    return relocated
