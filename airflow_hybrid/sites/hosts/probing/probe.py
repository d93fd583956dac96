# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One probe per batch: facts about files at a location, as values (:class:`airflow_hybrid.model.SiteFacts`).

The script needs ``sh`` and GNU's coreutils, find and xargs. Paths are NUL-terminated on stdin and stdout, so they may
contain anything and there may be any number of them; no process is started per file. A few plain paths are written into
the script itself, which then needs fewer processes.
"""

from __future__ import annotations

import asyncio
import functools
import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_hybrid import settings, shell_text
from airflow_hybrid.errors import AnswerTooLongError, SiteError, StatusUnknownError
from airflow_hybrid.model import Question, SiteFacts
from airflow_hybrid.sites.hosts.base import (
    ANSWER_BYTES,
    FOLDER_BYTES,
    MOST_ANSWER_BYTES,
    PATH_BYTES,
    Command,
    CommandResult,
    Host,
    answers_up_to,
)
from airflow_hybrid.sites.hosts.joining import run_joined
from airflow_hybrid.sites.hosts.per_loop import PerLoop
from airflow_hybrid.sites.hosts.probing import gnu_programs
from airflow_hybrid.sites.hosts.probing.answers import SEAL, parse

CONTENTS_BYTES = (64 << 10) + 1
"""CWL v1.2 section 5.1.1: at most 64 KiB are loaded; one more byte shows that the file is longer"""
DOCUMENT_BYTES = 64 << 20
"""how much is read of a document (``cwl.output.json``), for which CWL has no limit"""
_ASKS = {"stat": "s", "contents": "c", "document": "d", "list": "l", "checksum": "k"}
_READ = frozenset("cd")
"""questions for which a file is read; for sealed paths they have capital letters"""
_PLAIN = re.compile(r"[ -~]+")
_MOST_WRITTEN = 8_000
"""characters of paths that are written into the script; more, and paths with other characters, go by stdin"""
_OPENED = frozenset("tCD")
"""items whose files are opened before they are read"""


async def facts(
    host: Host, questions: Iterable[Question] = (), *, trees: Sequence[str] = (), bases: Sequence[str] = ()
) -> SiteFacts:
    """Ask a location about files, in one command.

    - ``trees``: folders that are listed with everything below them, sizes, and SHA-1 of regular files. Symbolic links
      in them are not followed: their targets need a question of their own, after their ``realpath`` was checked.
    - ``stat``, ``list``, ``checksum``, ``contents``, ``document``: see :class:`airflow_hybrid.model.Question`;
      symbolic links are followed, unless the question has a ``root``.
      For every path that is asked about, ``files`` has a :class:`~airflow_hybrid.model.FileFact`; its kind is ``?`` if
      there is nothing (or neither a file nor a directory).
    - ``bases``: folders that paths are written with. A realpath below the realpath of a base is written with the base
      again, so that a home directory that is itself a symbolic link does not look like an escape.

    A file of a tree, or of a question with a root, is opened first, then identified, and only then read: a process that
    replaces it by a symbolic link is too late.

    :raises SiteError: the location has no GNU programs.
    :raises AnswerTooLongError: there are more files than fit into an answer (some 300,000).
    :raises StatusUnknownError: the answer was cut off, or files changed while they were read (retryable).
    """
    distinct = list(dict.fromkeys(questions))
    if not distinct and not trees:
        return SiteFacts()
    checked = _CHECKED.get(host.key, _Checked)
    command, stdin = await asyncio.to_thread(build, distinct, trees, bases, checked.is_gnu)
    answer = await _ask(host, command, stdin, _most_bytes(distinct, trees))
    if lack := gnu_programs.lacking(answer.stdout):
        raise SiteError(
            f"files cannot be examined: there is no `{lack}`",
            where=host.title,
            hint=f"have {gnu_programs.PACKAGES} installed there, or name their folder as `config.path`",
        )
    checked.is_gnu = True
    try:
        return await asyncio.to_thread(parse, answer.stdout, distinct, trees, bases)
    except ValueError as error:
        checked.is_gnu = False
        complaints = answer.err.strip()[-500:]
        raise StatusUnknownError(f"the probe failed: {error} {complaints}".rstrip(), where=host.title) from None


@dataclass
class _Checked:
    """:ivar is_gnu: an earlier probe of the host has found the programs that it needs."""

    is_gnu: bool = False


_CHECKED: PerLoop[str, _Checked] = PerLoop()
"""by key of the host"""


async def _ask(host: Host, text: str, stdin: bytes, most_bytes: int) -> CommandResult:
    """:raises AnswerTooLongError: with a message about files."""
    try:
        with answers_up_to(most_bytes):
            return await run_joined(
                host, "probe", Command(text, stdin, settings.current().look_timeout, "probe of files")
            )
    except AnswerTooLongError:
        raise AnswerTooLongError(
            f"there are too many files: the answer about them takes more than {most_bytes} bytes",
            where=host.title,
            hint="let the job pack them (tar), and write what is not an output to its temporary folder (TMPDIR)",
        ) from None


def _most_bytes(questions: Sequence[Question], trees: Sequence[str]) -> int:
    """Limit of the answer: facts about paths, what is in folders, and the contents that are asked for."""
    lists = bool(trees) or any(question.ask == "list" for question in questions)
    folders = FOLDER_BYTES if lists else ANSWER_BYTES
    paths = PATH_BYTES * len(questions)
    contents = sum(CONTENTS_BYTES for question in questions if question.ask == "contents")
    documents = sum(DOCUMENT_BYTES for question in questions if question.ask == "document")
    return min(MOST_ANSWER_BYTES, folders + paths + contents + documents)


def build(
    questions: Iterable[Question], trees: Sequence[str], bases: Sequence[str], is_gnu: bool = False
) -> tuple[str, bytes]:
    """The probe's shell text and stdin.

    :param is_gnu: the programs there are known to be those that are needed.
    :raises ValueError: a path that is not absolute, or holds a NUL.
    """
    base_set = set(bases)
    items = [("b", base) for base in bases] + [("t", _sealed(tree, _root_of(tree, base_set))) for tree in trees]
    for question in questions:
        letter = _ASKS[question.ask]
        if question.root and letter in _READ:
            items.append((letter.upper(), _sealed(question.path, question.root)))
        else:
            items.append((letter, question.path))
    for _, path in items:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"not an absolute path: {path!r}")
    asked = frozenset(letter for letter, _ in items)
    checks = "" if is_gnu else gnu_programs.checks()
    opener = shell_text.load(__package__, "probe_opener.sh") if asked & _OPENED else ""
    head, end = f"export LC_ALL=C\n{checks}{opener}", "printf '#end\\0'\n"
    if sum(len(path) for _, path in items) <= _MOST_WRITTEN and all(_PLAIN.fullmatch(path) for _, path in items):
        return f"{head}{_written(items)}{end}", b""
    stdin = "".join(f"{ask}{path}\0" for ask, path in items).encode(errors="surrogateescape")
    return f"{head}/usr/bin/env xargs -0 -r sh -c {shlex.quote(_per_group(asked))} sh\n{end}", stdin


def _root_of(tree: str, bases: set[str]) -> str:
    """The folder below which no symbolic link may lead to a tree: the nearest base above it, else its parent."""
    above = posixpath.dirname(tree)
    while above not in bases:
        if above == "/":
            return posixpath.dirname(tree)
        above = posixpath.dirname(above)
    return above


def _sealed(path: str, root: str) -> str:
    """A path for the script: ``<root>/./<rest>``.

    :raises ValueError: it is not below the root.
    """
    root = root.rstrip("/")
    if not path.startswith(f"{root}/") or SEAL in path:
        raise ValueError(f"{path!r} is not below {root!r}")
    return f"{root}{SEAL}{path[len(root) + 1 :]}"


_OPENER = "$ah_opener"
"""the shell for `probe_open.sh`, chosen by `probe_opener.sh`"""

# T/U: type, type of a symbolic link's target, mode, size, mtime, ctime, path (T: seen in a folder; U: asked for,
# symbolic links followed)
_LOOK = r"""/usr/bin/env find -L "$@" -maxdepth 0 -printf 'U%y%y%m %s %T@ %C@ %p\0'
printf 'L%s\0' "$@"
printf '#real\0'
/usr/bin/env realpath -z -- "$@"
"""
_LINKS = f"""-type l '(' -xtype f -o -xtype d ')' -print0 2>/dev/null |
    /usr/bin/env xargs -0 -r sh -c {shlex.quote(_LOOK)} sh"""
_LIST = rf"""/usr/bin/env find -H "$@" -mindepth 1 -maxdepth 1 -printf 'T%y%Y%m %s %T@ %C@ %p\0'
/usr/bin/env find -H "$@" -mindepth 1 -maxdepth 1 {_LINKS}
"""
_CONTENTS = r"""/usr/bin/env find -L "$@" -maxdepth 0 -type f -printf 'C@MOST@ %s %p\0'
printf '#bytes\0'
/usr/bin/env find -L "$@" -maxdepth 0 -type f -exec head -q -c @MOST@ -- {} +
printf '\0#ok\0'
"""
_SUMS = r"""/usr/bin/env find -L "$@" -maxdepth 0 -type f -exec sha1sum -z -- {} +
"""
_EXISTING = r"""/usr/bin/env find -L "$@" -maxdepth 0 '(' -type f -o -type d ')' -print0 2>/dev/null |
    /usr/bin/env xargs -0 -r sh -c {look} sh
""".replace("{look}", shlex.quote(_LOOK))


@dataclass(frozen=True)
class _Part:
    """What is done with the paths that have one of some letters.

    :ivar script: for their paths as arguments; ``first``: an argument before them.
    :ivar shell: the one for it; :data:`_OPENER`: with how many paths at a time.
    """

    asks: str
    script: str
    first: str = ""
    shell: str = "sh"

    def of_group(self) -> str:
        """Shell text: it picks its paths from the arguments."""
        return f"ah_pick '[{self.asks}]' \"$@\" | {self._of_stdin()}"

    def of(self, paths: Sequence[str]) -> str:
        """Shell text with the paths in it."""
        words = shlex.join(paths)
        if self.shell == _OPENER:
            return f"printf '%s\\0' {words} | {self._of_stdin()}"
        return f"(\nset -- {self.first} {words}\n{self.script})\n"

    def _of_stdin(self) -> str:
        return f"/usr/bin/env xargs -0 -r {self.shell} -c {shlex.quote(self.script)} sh {self.first}\n"


@functools.cache
def _parts() -> tuple[_Part, ...]:
    opened = shell_text.load(__package__, "probe_open.sh")
    tree = rf"""/usr/bin/env find "$@" -printf 'T%y%Y%m %s %T@ %C@ %p\0'
/usr/bin/env find "$@" -type f -print0 2>/dev/null | /usr/bin/env xargs -0 -r {_OPENER} -c {shlex.quote(opened)} sh sums
/usr/bin/env find "$@" {_LINKS}
"""
    return (
        _Part("t", tree),
        _Part("l", _LIST),
        _Part("btscdlkCD", _EXISTING),
        _Part("k", _SUMS),
        _Part("c", _CONTENTS.replace("@MOST@", str(CONTENTS_BYTES))),
        _Part("d", _CONTENTS.replace("@MOST@", str(DOCUMENT_BYTES))),
        _Part("C", opened, str(CONTENTS_BYTES), _OPENER),
        _Part("D", opened, str(DOCUMENT_BYTES), _OPENER),
    )


@functools.cache
def _per_group(asked: frozenset[str]) -> str:
    """:param asked: letters of the items; processes are started for nothing else."""
    pick = (
        "ah_pick() { ah_w=$1; shift; for ah_a; do case $ah_a in $ah_w*) printf '%s\\0' \"${ah_a#?}\" ;; esac; done; }\n"
    )
    return pick + "".join(part.of_group() for part in _parts() if not asked.isdisjoint(part.asks))


def _written(items: Sequence[tuple[str, str]]) -> str:
    """The same for a few paths, which are written into it."""
    texts = []
    for part in _parts():
        paths = [path for letter, path in items if letter in part.asks]
        if paths:
            texts.append(part.of(paths))
    return "".join(texts)
