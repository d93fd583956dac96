# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The index of finished jobs at a location, ``<workdir>/reuse/<x>/<key>``: shell text and parsers, no I/O.

A record is written only after success, into a folder of its own and then renamed, so that none is ever seen half. It
says where a job's outputs are and what was in them; whoever takes them compares first. The index is the user's own
folder, in which nobody else can write.
"""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import re
import secrets
import shlex
import tarfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

REUSE = "reuse"
_KEY = re.compile(r"[0-9a-f]{64}\Z")


def lookup_command(workdir: str, task_directory: str) -> str:
    """Shell text that prints the records of some keys, and the jobs that the task itself has begun before.

    Its stdin: ``<x>/<key>``, one a line. Read its stdout by :func:`parse_lookup`.
    """
    return _LOOKUP.replace("@T@", shlex.quote(task_directory)).replace(
        "@R@", shlex.quote(posixpath.join(workdir, REUSE))
    )


def lookup_input(keys: Sequence[str]) -> bytes:
    """The stdin of :func:`lookup_command`."""
    return "".join(f"{_place(key)}\n" for key in keys).encode()


def parse_lookup(data: bytes) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """-> records by key; names of the jobs that the task has begun.

    :raises ValueError: the answer was cut off.
    """
    begun, mark, rest = data.partition(b"#records\n")
    if not mark or not rest.endswith(b"#end\n"):
        raise ValueError("the answer was cut off")
    records: dict[str, dict[str, Any]] = {}
    for line in rest[: -len(b"#end\n")].splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # somebody else's file: no record
        if isinstance(record, dict) and _KEY.match(str(record.get("key"))):
            records[record["key"]] = record
    return records, set(begun.decode(errors="replace").split("\n"))


def store_command(workdir: str) -> str:
    """Shell text that takes records from its stdin (:func:`store_input`)."""
    place = posixpath.join(workdir, REUSE)
    return _STORE.replace("@R@", shlex.quote(place)).replace("@N@", shlex.quote(f"{place}/new.{secrets.token_hex(6)}"))


def store_input(records: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A compressed tar stream of records by key."""
    buffer = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for key, record in records.items():
            data = json.dumps({**record, "key": key}, separators=(",", ":")).encode() + b"\n"
            info = tarfile.TarInfo(f"./{_place(key)}")
            info.size, info.mode, info.mtime = len(data), 0o600, now
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 1)


def _place(key: str) -> str:
    if not _KEY.match(key):
        raise ValueError(f"not a key: {key!r}")
    return f"{key[0]}/{key}"


_LOOKUP = r"""cat -- @T@/*/manifest 2>/dev/null
echo '#records'
if cd @R@ 2>/dev/null && [ -O . ] && [ ! -h @R@ ]; then xargs -r cat -- 2>/dev/null; fi
echo '#end'
"""
_STORE = r"""umask 077
mkdir -p @R@ @N@ && [ -O @R@ ] && [ ! -h @R@ ] && chmod 700 @R@ || exit 73
trap 'rm -rf @N@' EXIT
tar -xzmof - -C @N@ || exit 74
cd @N@ || exit 73
for ah_x in ?; do set -- "$@" @R@/"$ah_x"; done
mkdir -p "$@" || exit 74
for ah_x in ?; do mv -f -- "$ah_x"/* @R@/"$ah_x"/ || exit 74; done
"""
