# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shell text that examines, sends, receives and commits files; and the parsers of its answers. Pure.

POSIX sh with coreutils, findutils and tar of GNU, busybox or BSD. Paths are quoted once, here; answers are separated
by NUL or contain no names, so that any name is safe. Nothing gets its final name before its digest was compared.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.internet import WebAddress
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.files.store import is_stored
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, work_directory_of

INCOMING = ".incoming-"


def copy_folder_functions() -> str:
    """Shell functions for the folders in which copies are made; ``place.sh`` says what they do."""
    return shell_text.load(__package__, "place.sh")


@dataclass(frozen=True)
class Sight:
    """What is at a path.

    :ivar kind: ``f`` file, ``d`` directory, ``x`` not readable, ``l`` a symbolic link, or reached through one, in a
        job's output, ``-`` nothing.
    :ivar path: the path with a symbolic link at its end resolved.
    """

    kind: str
    size: int
    digest: str | None
    path: str


def look(paths: Sequence[tuple[str, bool]]) -> str:
    """Examine paths; if the flag is set, read them for size and digest. Answer: :func:`parse_look`.

    In a job's output no symbolic link is followed: a file is opened, then identified, then read.
    """
    functions = [shell_text.load(__package__, name) for name in ("digest.sh", "sealed.sh", "look.sh")]
    calls = (
        f"q {shlex.quote(path)} {int(read)} {shlex.quote(work_directory_of(path) or '')}\n" for path, read in paths
    )
    return "".join([*functions, *calls])


def parse_look(output: bytes, count: int) -> list[Sight]:
    """:raises ValueError: the answer is incomplete."""
    fields = output.decode(errors="surrogateescape").split("\0")
    if len(fields) != 4 * count + 1:
        raise ValueError(f"{len(fields) // 4} of {count} answers")
    return [
        Sight(fields[i], int(fields[i + 1] or 0), fields[i + 2] or None, fields[i + 3]) for i in range(0, 4 * count, 4)
    ]


def exists(items: Sequence[tuple[str, str, bool]]) -> str:
    """One probe for many copies: path, kind, and whether to read it. Answer, one line each: :func:`parse_exists`."""
    functions = [shell_text.load(__package__, name) for name in ("digest.sh", "exists.sh")]
    calls = (f"q {shlex.quote(path)} {kind} {int(read)}{_stored(path)}\n" for path, kind, read in items)
    return "".join([*functions, *calls])


def parse_exists(output: str, count: int) -> list[str | None]:
    """Per item: None if it does not exist, else its digest (empty if it was not asked for).

    :raises ValueError: the answer is incomplete.
    """
    lines = output.split("\n")[:-1]
    if len(lines) != count:
        raise ValueError(f"{len(lines)} of {count} answers")
    return [None if line == "-" else line[1:] for line in lines]


# --- one tar stream for many files ---------------------------------------------------------------------------------


def is_sealed(path: str) -> bool:
    """Whether symbolic links at the path and below it are not followed, because a job made it."""
    return job_directory_of(path) is not None


def send(paths: Sequence[str], *, compress: bool) -> str:
    """Write absolute paths as one tar stream; the exit code is tar's.

    Symbolic links are followed, but not in outputs of jobs.

    :raises ValueError: some of the paths are outputs of jobs and some are not.
    """
    if len({is_sealed(path) for path in paths}) > 1:
        raise ValueError("symbolic links are followed in only some of these paths")
    create = "-c" if paths and is_sealed(paths[0]) else "-ch"
    names = " ".join(shlex.quote("." + path) for path in paths)
    text = shell_text.filled(__package__, "send.sh", {"NAMES": names, "CREATE": create})
    if not compress:
        return text + "t"
    return text + "exec 4>&1;c=$( { { t 4>&-;echo $?>&3;}|zstd -q -1 -c >&4 3>&-;} 3>&1);exit ${c:-1}"


@dataclass(frozen=True)
class Item:
    """One file or directory of a stream: its name in the stream, its target path, and the digest that it must have."""

    kind: str
    sent: str
    target: str
    digest: str


def receive(root: str, transfer: str, items: Sequence[Item], *, compressed: bool) -> str:
    """Read a tar stream, verify every item, and rename the good ones. Answer: :func:`parse_receive`.

    Items that arrived completely before a stream broke are kept. The temporary folder is removed in any case; what a
    killed receiver left is removed after two days by another one. Below the folder in which copies are made, nothing is
    written through a symbolic link, and nothing is replaced that we did not make.
    """
    calls = "\n".join(
        f"k {i} {item.kind} {shlex.quote('.' + item.sent)} {shlex.quote(item.target)} {item.digest}"
        f"{_stored(item.target)}"
        for i, item in enumerate(items)
    )
    unpack = "zstd -dqc | tar -xmof -" if compressed else "tar -xmof -"
    values = {"CALLS": calls, "INCOMING": INCOMING, "UNPACK": unpack}
    return _begin(root, transfer, items[0].target) + shell_text.filled(__package__, "receive.sh", values)


@dataclass(frozen=True)
class Received:
    """How a stream arrived.

    :ivar states: per item: ``ok``, ``bad DIGEST`` (``bad -``: missing), or ``unnamed``.
    :ivar exit_code: of tar; None if the answer was cut off.
    :ivar free_kib: free space of the disk.
    """

    states: Mapping[int, str]
    exit_code: int | None
    free_kib: int | None = None


def parse_receive(output: str) -> Received:
    """Read the answer. If it was cut off, some items have no state and there is no exit code."""
    states: dict[int, str] = {}
    code: int | None = None
    free_kib: int | None = None
    for line in output.splitlines():
        first, _, value = line.partition(" ")
        if first == "end":
            numbers = [int(word) for word in value.split() if word.isdigit()]
            code, free_kib = [*numbers, None, None][:2]
        elif first.isdigit() and value:
            states[int(first)] = value
    return Received(states, code, free_kib)


# --- from the web ----------------------------------------------------------------------------------------------------


def addresses(name: str) -> str:
    """Print the addresses of a host's name, as the location resolves it, one per line. Exit code 71: it cannot."""
    return f"command -v getent >/dev/null||exit 71;getent ahosts {shlex.quote(name)}|cut -d' ' -f1|sort -u"


def curl_config(address: WebAddress, number: str) -> bytes:
    """Configuration of curl, for its stdin: unlike an argument, other processes cannot read it.

    :param number: the host's address, which is used without another look-up.
    """
    values = [("url", address.url), ("noproxy", "*")]
    if not address.is_numeric:
        number = f"[{number}]" if ":" in number else number
        values.append(("resolve", f"{address.host}:{address.port}:{number}"))
    if address.user:
        values.append(("user", address.user))
    lines = (f"{name} = {_curl_word(value)}\n" for name, value in values)
    return ("globoff\n" + "".join(lines)).encode()


def _curl_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def fetch(root: str, transfer: str, target: str, digest: str | None) -> str:
    """Fetch with curl what the configuration on stdin says, verify it, and rename it.

    Prints ``ok SIZE DIGEST``, ``same SIZE DIGEST``, or ``redirect URL``, which is not followed. Exit codes: 71 there is
    no curl, 72 the digest differs, 73 an unexpected status, otherwise curl's own. An existing copy is fetched again
    only if the server has a newer one, or if the copy was written to after it got its name.
    """
    values = {"TARGET": shlex.quote(target), "STORED": _stored(target), "DIGEST": shlex.quote(digest or "")}
    return _begin(root, transfer, target) + shell_text.filled(__package__, "fetch.sh", values)


def put(root: str, transfer: str) -> str:
    """Read stdin into a temporary file and print ``SIZE DIGEST``; :func:`commit` gives it its name."""
    return _begin(root, transfer, "") + shell_text.load(__package__, "put.sh")


def commit(root: str, transfer: str, target: str) -> str:
    """Give what :func:`put` wrote its final name."""
    values = {
        "ROOT": shlex.quote(root),
        "NAME": f"{INCOMING}{transfer}",
        "TARGET": shlex.quote(target),
        "STORED": _stored(target),
    }
    return removal.functions() + copy_folder_functions() + shell_text.filled(__package__, "commit.sh", values)


def discard(root: str, transfer: str) -> str:
    """Remove what :func:`put` wrote."""
    return f"{removal.functions()}ah_rm {shlex.quote(root)} {INCOMING}{transfer}"


def _begin(root: str, transfer: str, target: str) -> str:
    """Shell text that makes a transfer's temporary folder; ``begin.sh`` says how it is used."""
    make = 'ah_make "$R"' if is_stored(target) else '(umask 077 && mkdir -p -- "$R")'
    values = {"ROOT": shlex.quote(root), "NAME": f"{INCOMING}{transfer}", "MAKE": make}
    digest = shell_text.load(__package__, "digest.sh")
    return removal.functions() + digest + copy_folder_functions() + shell_text.filled(__package__, "begin.sh", values)


def _stored(target: str) -> str:
    """The argument for a target in the store; ``""`` for any other."""
    return " s" if is_stored(target) else ""
