# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The records of finished jobs at a location, ``<workdir>/reuse/<tool>/<job>``: shell text and parsers, no I/O.

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
from dataclasses import dataclass, field
from typing import Any

REUSE = "reuse"
MOST_NAMES = 5000
"""of records of one tool that a lookup lists; where there are more, it says only that there are many"""
_PREFIX = 16
_KEY = re.compile(r"[0-9a-f]{16}/[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Lookup:
    """What a location says of the records of one tool.

    :ivar names: :func:`short` names of all records of the tool; None: there are too many to list.
    :ivar records: by key, of the keys that were asked for.
    :ivar begun: names of the jobs that the task has begun itself.
    """

    names: frozenset[str] | None = frozenset()
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()


def tool_of(key: str) -> str:
    """The part of a key that says which tool it is; jobs of one step have it in common."""
    return key.partition("/")[0]


def short(key: str) -> str:
    """Enough of a key to tell that there is no record of it."""
    return key.partition("/")[2][:_PREFIX]


def lookup_command(workdir: str, tool: str, task_directory: str) -> str:
    """Shell text that prints what there is of a tool, records of some keys, and the jobs that the task has begun.

    Its stdin: :func:`lookup_input`. Read its stdout by :func:`parse_lookup`.
    """
    place = posixpath.join(workdir, REUSE)
    text = _LOOKUP.replace("@T@", shlex.quote(task_directory)).replace("@R@", shlex.quote(place))
    return text.replace("@TOOL@", shlex.quote(tool)).replace("@MOST@", str(MOST_NAMES + 1))


def lookup_input(keys: Sequence[str]) -> bytes:
    """The stdin of :func:`lookup_command`."""
    return "".join(f"{_checked(key)}\n" for key in keys).encode()


def parse_lookup(data: bytes) -> Lookup:
    """Read the stdout of :func:`lookup_command`.

    :raises ValueError: the answer was cut off.
    """
    begun, known, rest = data.partition(b"#known\n")
    names, mark, rest = rest.partition(b"#records\n")
    if not known or not mark or not rest.endswith(b"#end\n"):
        raise ValueError("the answer was cut off")
    listed = names.decode(errors="replace").split()
    records: dict[str, dict[str, Any]] = {}
    for line in rest[: -len(b"#end\n")].splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # somebody else's file: no record
        if isinstance(record, dict) and _KEY.match(str(record.get("key"))):
            records[record["key"]] = record
    return Lookup(
        names=None if len(listed) > MOST_NAMES else frozenset(listed),
        records=records,
        begun=frozenset(begun.decode(errors="replace").split("\n")),
    )


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
            info = tarfile.TarInfo(f"./{_checked(key)}")
            info.size, info.mode, info.mtime = len(data), 0o600, now
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 1)


def _checked(key: str) -> str:
    if not _KEY.match(key):
        raise ValueError(f"not a key: {key!r}")
    return key


_LOOKUP = r"""cat -- @T@/*/manifest 2>/dev/null
echo '#known'
ah_mine=
if cd @R@ 2>/dev/null && [ -O . ] && [ ! -h @R@ ]; then
    ah_mine=yes
    ls -U @TOOL@ 2>/dev/null | head -n @MOST@ | cut -c 1-16
fi
echo '#records'
[ -z "$ah_mine" ] || xargs -r cat -- 2>/dev/null
echo '#end'
"""
_STORE = r"""umask 077
mkdir -p @R@ @N@ && [ -O @R@ ] && [ ! -h @R@ ] && chmod 700 @R@ || exit 73
trap 'rm -rf @N@' EXIT
tar -xzmof - -C @N@ || exit 74
cd @N@ || exit 73
for ah_x in *; do set -- "$@" @R@/"$ah_x"; done
mkdir -p "$@" || exit 74
for ah_x in *; do find "$ah_x" -type f -exec mv -f -t @R@/"$ah_x" -- {} + || exit 74; done
"""
