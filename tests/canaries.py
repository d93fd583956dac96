# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Canaries: files that nobody but the tests made, around every folder that jobs and data are kept in.

They lie where shell text that quotes badly would go: beside a folder under each name that its own is misread as, in
folders that look like ours, and behind links. Whoever removes or changes one is told by name (:func:`compare`).

It needs nothing but Python's own library, and is a program, too: a site plants and looks by itself, in one command
(``python3 canaries.py plant|look``, JSON on stdin and stdout).
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

WORK = "air flow's [hybrid] $(x) %y/-work"
"""path of a work directory that breaks what does not quote. Without a line break: batch directories refuse that."""
NAMES = (
    "two  words", "it's", 'q"uote', "$HOME", "$(touch evil)", "`touch evil`", "%s%n", "new\nline", "[a-z]*", "*", "?",
    "-rf", "--", "a;touch evil", "back\\slash", "{a,b}", "~", "#x", "!x", "ünï ☃", ".hidden", "tab\t", " blank ",
)  # fmt: skip
"""of canaries that lie anywhere"""
OURS = (
    ".incoming-x", "new.xyz", ".new.a1", "store/.incoming-x", "store/new.xyz", "store/aa", "images/new.xyz", "images/x",
    "reuse/new.xyz", "reuse/aa", ".airflow-hybrid-check.canary",
)  # fmt: skip
"""of folders in a work directory that look as if we had made them"""
OLD_NS = 1_500_000_000 * 10**9
"""time of their last change: whatever goes by age takes them for forgotten"""
_TEXT = "a canary of the tests\n"
_EXPANSION = re.compile(r"\$\([^)]*\)|\$\w+|`[^`]*`")


@dataclass(frozen=True)
class Entry:
    """A canary that is to be made.

    :ivar kind: ``file``, ``folder`` or ``link``.
    :ivar target: where a link leads.
    """

    path: str
    kind: str = "file"
    target: str = ""


@dataclass(frozen=True)
class State:
    """What there is at a path.

    :ivar kind: ``file``, ``folder``, ``link``, or ``other``.
    :ivar content: SHA-1 of a file; where a link leads; the names in a folder.
    """

    kind: str
    mode: str
    owner: str
    names: int
    changed_ns: int
    content: str


# --- where they lie --------------------------------------------------------------------------------------------------


def misread(name: str) -> list[str]:
    """What shell text may take a file name for that it does not quote, or not once."""
    expanded = _EXPANSION.sub("", name)
    matched = re.sub(r"\[(.)[^]]*\]", r"\1", name).replace("*", "star").replace("?", "q")
    unquoted = re.sub(r"['\"\\]", "", name)
    formatted = re.sub(r"%.", "", name)
    everything = re.sub(r"['\"\\]", "", _EXPANSION.sub("", matched))
    readings = [name, expanded, matched, unquoted, formatted, everything]
    found = [name[:-1], f"{name}.bak", f"{name}~", name.lstrip("-"), *readings]
    for reading in readings:
        found += reading.split()
        found += [reading[: match.start()] for match in re.finditer(r"\s", reading)]
    return [word for word in dict.fromkeys(found) if word not in ("", ".", "..", name)]


def anywhere(folder: str) -> list[Entry]:
    """Canaries with odd names in a folder, one of them a folder with more in it."""
    inner = f"{folder}/canaries in a folder"
    entries = [Entry(f"{folder}/{name}") for name in NAMES]
    entries += [Entry(inner, "folder"), Entry(f"{inner}/-r f"), Entry(f"{inner}/.hidden"), Entry(f"{inner}/new\nline")]
    entries += [Entry(f"{inner}/link", "link", "../-rf"), Entry(f"{folder}/dangling", "link", "/no/such canary")]
    return entries


def around(path: str, top: str) -> list[Entry]:
    """Canaries beside every folder on the way from ``top`` to ``path``, which lies below it.

    :param path: need not exist; its parents are made with the canaries.
    """
    entries: list[Entry] = []
    while path != top and path != posixpath.dirname(path):
        folder, name = posixpath.split(path)
        entries += [Entry(f"{folder}/{other}") for other in misread(name)]
        entries += anywhere(folder)
        path = folder
    return entries


def inside(path: str) -> list[Entry]:
    """Canaries in a work directory: in folders that look like ours, and links that lead out of it to canaries."""
    outside = f"{posixpath.dirname(path)}/outside of the work directory"
    entries = [Entry(outside, "folder"), Entry(f"{outside}/file"), Entry(f"{outside}/-rf")]
    for name in OURS:
        entries += [Entry(f"{path}/{name}", "folder"), Entry(f"{path}/{name}/f"), Entry(f"{path}/{name}/-rf")]
        entries.append(Entry(f"{path}/{name}/link", "link", outside))
    entries += [
        Entry(f"{path}/.incoming-link", "link", outside),
        Entry(f"{path}/store/.incoming-link", "link", outside),
    ]
    entries.append(Entry(f"{path}/a link to a file", "link", f"{outside}/file"))
    return entries


# --- making and looking, at the place itself -------------------------------------------------------------------------


def plant(entries: Sequence[Entry], owner: int = -1) -> dict[str, State]:
    """Make canaries, and folders that they need, where there is nothing yet; -> those that were made, as they are.

    :param owner: user and group that they belong to; -1: whoever calls.
    """
    made: list[Entry] = []
    for entry in sorted(set(entries), key=lambda entry: (entry.path.count("/"), entry.path)):
        if os.path.lexists(entry.path):
            continue
        _folders(posixpath.dirname(entry.path), owner)
        _make(entry)
        os.chown(entry.path, owner, owner, follow_symlinks=False)
        made.append(entry)
    for entry in reversed(made):  # what is in a folder changes its time
        os.utime(entry.path, ns=(OLD_NS, OLD_NS), follow_symlinks=False)
    return look([entry.path for entry in made])


def _folders(path: str, owner: int) -> None:
    if not os.path.isdir(path):
        _folders(posixpath.dirname(path), owner)
        os.mkdir(path)
        os.chown(path, owner, owner)


def _make(entry: Entry) -> None:
    if entry.kind == "folder":
        os.mkdir(entry.path)
    elif entry.kind == "link":
        os.symlink(entry.target, entry.path)
    else:
        with open(entry.path, "x") as file:
            file.write(_TEXT + entry.path)
        os.chmod(entry.path, 0o640)


def look(paths: Iterable[str]) -> dict[str, State]:
    """What there is at paths, as far as there is something; links are not followed."""
    found = {}
    for path in paths:
        try:
            found[path] = _state(path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it is not there: that is what `compare` says
    return found


def _state(path: str) -> State:
    seen = os.lstat(path)
    kind, content = "other", ""
    if stat.S_ISLNK(seen.st_mode):
        kind, content = "link", os.readlink(path)
    elif stat.S_ISDIR(seen.st_mode):
        kind, content = "folder", "\0".join(sorted(os.listdir(path)))
    elif stat.S_ISREG(seen.st_mode):
        kind, content = "file", _digest(path)
    mode = oct(stat.S_IMODE(seen.st_mode))
    return State(kind, mode, f"{seen.st_uid}:{seen.st_gid}", seen.st_nlink, seen.st_mtime_ns, content)


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.sha1(file.read(), usedforsecurity=False).hexdigest()
    except PermissionError as error:
        return f"not to be read: {error.strerror}"


# --- what became of them ---------------------------------------------------------------------------------------------


def compare(before: Mapping[str, State], after: Mapping[str, State]) -> list[str]:
    """A line for each canary that is not as it was: its path, and what was done to it."""
    lines = []
    for path, was in before.items():
        now = after.get(path)
        if now is None:
            lines.append(f"{path!r} was removed")
        elif now != was:
            lines.append(f"{path!r} was changed: {', '.join(_differences(was, now))}")
    return lines


def _differences(was: State, now: State) -> list[str]:
    if was.kind != now.kind:
        leads = f" to {now.content!r}" if now.kind == "link" else ""
        return [f"it was a {was.kind} and is a {now.kind}{leads}"]
    found = []
    if was.content != now.content:
        found.append(_content(was, now))
    if was.mode != now.mode:
        found.append(f"its mode was {was.mode} and is {now.mode}")
    if was.owner != now.owner:
        found.append(f"its owner was {was.owner} and is {now.owner}")
    if was.names != now.names and was.kind != "folder":
        found.append(f"it had {was.names} name(s) and has {now.names} (hard links)")
    if was.changed_ns != now.changed_ns and not found:
        found.append("it was written to (its time is another)")
    return found or ["something was put in a folder in it"]


def _content(was: State, now: State) -> str:
    if was.kind == "link":
        return f"it led to {was.content!r} and leads to {now.content!r}"
    if was.kind == "file":
        return "its content is another"
    had, has = set(was.content.split("\0")), set(now.content.split("\0"))
    words = [f"{name!r} appeared in it" for name in sorted(has - had)]
    words += [f"{name!r} is gone from it" for name in sorted(had - has)]
    return ", ".join(words)


# --- as a program ----------------------------------------------------------------------------------------------------


def dumped(states: Mapping[str, State]) -> str:
    """States as JSON, for :func:`loaded`."""
    return json.dumps({path: asdict(state) for path, state in states.items()})


def loaded(text: str) -> dict[str, State]:
    """:raises ValueError: it is no answer of this program."""
    return {path: State(**fields) for path, fields in json.loads(text).items()}


def main(task: str) -> None:
    """``plant`` (``{"owner": uid, "entries": [[path, kind, target], ...]}``) or ``look`` (``[path, ...]``)."""
    given = json.load(sys.stdin)
    if task == "plant":
        sys.stdout.write(dumped(plant([Entry(*fields) for fields in given["entries"]], given["owner"])))
    else:
        sys.stdout.write(dumped(look(given)))


if __name__ == "__main__":
    main(sys.argv[1])
