# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The records of finished jobs at a location, lines in ``<workdir>/reuse/<tool>/r.*``: shell text and parsers, no I/O.

Records are written only after success, to a file that is then renamed, so that none is ever read in part. Each says
where a job's outputs are and what was in them; whoever uses them compares first. The index is in the user's own folder,
where nobody else can write. A tool has only a few files, because many small ones are slow and use up quotas.
"""

from __future__ import annotations

import gzip
import json
import posixpath
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.hosts import claims

REUSE = "reuse"
MOST_NAMES = 5000
"""how many records of one tool a lookup lists; if there are more, it only says that there are many"""
MOST_FILES = 64
"""files of one tool; more are merged into one"""
MOST_RECORDS = 200_000
"""records of one tool that are kept, the newest, about 100 MB"""
RECORD_BYTES = 1 << 20
"""largest record of one job (some 10,000 outputs); larger ones are not written"""
_PREFIX = 16
_KEY = re.compile(r"[0-9a-f]{16}/[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Lookup:
    """A location's answer about the records of one tool.

    :ivar names: :func:`short` names of all records of the tool; None: there are too many to list.
    :ivar records: by key, of the keys that were asked for.
    :ivar begun: names of the jobs that the task has begun itself.
    """

    names: frozenset[str] | None = frozenset()
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()


def tool_of(key: str) -> str:
    """The part of a key that identifies the tool; all jobs of a step share it."""
    return key.partition("/")[0]


def short(key: str) -> str:
    """A part of the key that is long enough to see that there is no record of it."""
    return key.partition("/")[2][:_PREFIX]


def lookup_command(workdir: str, tool: str, task_directory: str) -> str:
    """Shell text that prints the records of a tool, those of some keys, and the jobs that the task has begun.

    Its stdin: :func:`lookup_input`. :func:`parse_lookup` reads its stdout.
    """
    folder = posixpath.join(workdir, REUSE)
    paths = {"T": task_directory, "R": folder, "TOOL": posixpath.join(folder, tool)}
    values = {name: shlex.quote(path) for name, path in paths.items()}
    values.update(MOST=str(MOST_NAMES + 1), RECORD=str(RECORD_BYTES))
    return shell_text.filled(__package__, "lookup.sh", values)


def lookup_input(keys: Sequence[str]) -> bytes:
    """The stdin of :func:`lookup_command`."""
    return "".join(f"{_checked(key).partition('/')[2]}\n" for key in keys).encode() + b"#\n"


def parse_lookup(answer: bytes) -> Lookup:
    """Read the stdout of :func:`lookup_command`.

    :raises ValueError: the answer was cut off.
    """
    begun, names_mark, remainder = answer.partition(b"#known\n")
    names, records_mark, remainder = remainder.partition(b"#records\n")
    if not names_mark or not records_mark or not remainder.endswith(b"#end\n"):
        raise ValueError("the answer was cut off")
    listed = names.decode(errors="replace").split()
    records: dict[str, dict[str, Any]] = {}
    for line in remainder[: -len(b"#end\n")].splitlines():
        try:
            record = json.loads(line.partition(b" ")[2])
        except ValueError:
            continue  # not a record of ours
        if isinstance(record, dict) and _KEY.match(str(record.get("key"))):
            records[record["key"]] = record
    return Lookup(
        names=None if len(listed) > MOST_NAMES else frozenset(listed),
        records=records,
        begun=frozenset(begun.decode(errors="replace").split("\n")),
    )


def store_command(workdir: str) -> str:
    """Shell text that stores records from its stdin (:func:`store_input`)."""
    folder, file_id = posixpath.join(workdir, REUSE), secrets.token_hex(6)
    values = {"R": shlex.quote(folder), "K": file_id, "FILES": str(MOST_FILES), "RECORDS": str(MOST_RECORDS)}
    return removal.functions() + claims.functions() + shell_text.filled(__package__, "store.sh", values)


def store_input(records: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Records by key, compressed: ``<tool>/<job> <JSON>``, one per line."""
    lines = []
    for key, record in records.items():
        line = f"{_checked(key)} {json.dumps({**record, 'key': key}, separators=(',', ':'))}\n"
        if len(line) <= RECORD_BYTES:
            lines.append(line)
    return gzip.compress("".join(lines).encode(), 1)


def _checked(key: str) -> str:
    if not _KEY.match(key):
        raise ValueError(f"not a key: {key!r}")
    return key
