# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs in an object store: the same rules as in a folder, as far as a store can follow them.

A store cannot create an object only if its name is free, so two runs that write to the same URL at the same time can
overwrite each other's outputs; give each run its own URL.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import mimetypes
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, CwlObject, FileRef, JsonValue, LineageEntry
from airflow_hybrid.model.walking import location_of
from airflow_hybrid.operators.gather.existing import FAIL, REPLACE
from airflow_hybrid.operators.gather.outdir import numbered
from airflow_hybrid.operators.gather.record import RECORD
from airflow_hybrid.operators.gather.renamed import RenamedOutput, warn
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.printable import redacted

_S3 = ("s3", "s3a")
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
"""by the encodings of Python's table: the object is the compressed file"""


def upload(
    value: CwlObject, lineage: list[LineageEntry], folder: str, outdir: str, rules: OutputRules
) -> tuple[CwlObject, list[LineageEntry]]:
    """Send the contents of ``folder`` to ``outdir``; -> the output object and the lineage with locations there.

    :raises TransferError: the store refuses, or something is in the way and ``rules.existing`` is ``fail``.
    """
    store = _Store(outdir.rstrip("/"), rules)
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != RECORD]
    keys = {path.relative_to(folder).as_posix(): path for path in files}
    try:
        if rules.existing == FAIL:
            store.fail_if_taken(keys)
        places = {key: store.put(key, path) for key, path in keys.items()}
    finally:
        store.keep_record()
    warn(store.renamed, rules.log)
    prefix = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, folder).uri
    renamed = {_uri(folder, key): _uri(folder, place) for key, place in places.items()}

    def in_store(uri: str) -> str:
        uri = renamed.get(uri, uri)
        is_inside = uri == prefix or uri.startswith(f"{prefix}/")
        return store.url + uri[len(prefix) :] if is_inside else uri

    def relocate(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            return {key: relocate(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [relocate(entry) for entry in value]
        return in_store(value) if isinstance(value, str) else value

    relocated: CwlObject = relocate(value)
    return relocated, [replace(entry, destination=redacted(in_store(entry.destination))) for entry in lineage]


def _uri(folder: str, key: str) -> str:
    return FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, f"{folder}/{key}").uri


class _Store:
    """The objects under one URL, and the record there."""

    def __init__(self, url: str, rules: OutputRules) -> None:
        self.url = url
        self._rules = rules
        self.renamed: list[RenamedOutput] = []
        self._inputs: set[str] | None = None
        self._placed: set[str] = set()
        self._changed = False
        self._lines: dict[str, dict[str, Any]] = self._read_record()

    def _at(self, key: str) -> Any:
        from airflow.sdk import ObjectStoragePath

        return cast(Any, ObjectStoragePath(f"{self.url}/{key}"))

    def _read_record(self) -> dict[str, dict[str, Any]]:
        path = self._at(RECORD)
        try:
            if not path.exists():
                return {}
            with path.open("rb") as file:
                record = json.loads(file.read())
        except OSError as error:
            raise self._refused(path, error) from None
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise TransferError(f"{path} is not a record of airflow_hybrid", hint="move it away")
        return {key: line for key, line in record.items() if isinstance(line, dict)}

    def keep_record(self) -> None:
        """Record what has been put there."""
        if not self._changed:
            return
        path = self._at(RECORD)
        try:
            with path.open("wb", **_options(path, "application/json")) as file:
                file.write(json.dumps(self._lines).encode())
        except OSError as error:
            raise self._refused(path, error) from None

    def fail_if_taken(self, keys: Mapping[str, Path]) -> None:
        """:raises TransferError: a key is taken by an object that this run did not put there."""
        taken = [key for key, path in keys.items() if not self._has_room(key, path)]
        if taken:
            shown = ", ".join(taken[:5]) + (f" and {len(taken) - 5} more" if len(taken) > 5 else "")
            raise TransferError(
                f"{self.url} has other objects under the names of this run's outputs: {shown}",
                hint="choose another `outdir` (`--outdir`), or let outputs get new names"
                " (`existing_outputs: rename`, `--existing rename`)",
                retryable=False,
            )

    def put(self, key: str, source: Path) -> str:
        """Send a file, unless it is there; -> its key."""
        candidate = next(
            name
            for name in (numbered(key, number) for number in itertools.count(1))
            if name not in self._placed and name != RECORD and self._has_room(name, source)
        )
        if candidate != key:
            self.renamed.append(RenamedOutput(redacted(f"{self.url}/{key}"), candidate, is_twin=key in self._placed))
        target = self._at(candidate)
        self._placed.add(candidate)
        try:
            if target.exists() and not self._is_ours(candidate, target):
                return candidate  # an input passed on, or sent by a try that was killed before it recorded that
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as data, target.open("wb", **_options(target, content_type(source.name))) as sink:
                shutil.copyfileobj(data, sink, 1 << 20)
            self._lines[candidate] = {"run": self._rules.run, **self._state(target)}
        except OSError as error:
            raise self._refused(target, error) from None
        self._changed = True
        return candidate

    def _has_room(self, key: str, source: Path) -> bool:
        path = self._at(key)
        try:
            if not path.exists():
                return True
            return self._is_ours(key, path) or (path.is_file() and _same(path, source))
        except OSError as error:
            raise self._refused(path, error) from None

    def _is_ours(self, key: str, path: Any) -> bool:
        """Whether the object there is an output that may be replaced: recorded, and still the same version."""
        line = self._lines.get(key)
        if line is None:
            return False
        if self._rules.existing != REPLACE and line.get("run") != self._rules.run:
            return False
        return {**line, **self._state(path)} == line and not self._is_input(path)

    def _is_input(self, path: Any) -> bool:
        """Whether an object is an input of the run, whichever Connection was used to reach it."""
        if self._inputs is None:
            # a store's folder comes with a list of its objects
            urls = [str(location_of(item)) for item in self._rules.inputs()]
            self._inputs = {_object_name(unquote(url)) for url in urls if "://" in url}
        return _object_name(str(path)) in self._inputs

    @staticmethod
    def _state(path: Any) -> dict[str, Any]:
        """What distinguishes an object from a later one under its key: its size and the store's version tag."""
        return {"size": path.stat()["size"], "version": str(path.checksum())}

    def _refused(self, path: Any, error: OSError) -> TransferError:
        return TransferError(f"cannot write {path}: {error}", hint="see the object store's connection")


def content_type(name: str) -> str | None:
    """The type of a file's content, by its name; None: not known."""
    kind, encoding = mimetypes.guess_type(name)
    return kind if encoding is None else _COMPRESSED.get(encoding)


def _options(path: Any, kind: str | None) -> dict[str, str]:
    """What gives an object a type when it is opened for writing. Google's store takes it from the name."""
    return {"ContentType": kind} if kind is not None and path.protocol in _S3 else {}


def _object_name(url: str) -> str:
    """A URL without the Connection in it."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket.rpartition('@')[2]}/{key}"


def _same(path: Any, source: Path) -> bool:
    if path.stat()["size"] != source.stat().st_size:
        return False
    with path.open("rb") as there, source.open("rb") as ours:
        return _sha1(there) == _sha1(ours)


def _sha1(file: BinaryIO) -> bytes:
    digest = hashlib.sha1(usedforsecurity=False)
    while data := file.read(1 << 20):
        digest.update(data)
    return digest.digest()
