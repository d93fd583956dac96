# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The programs, files and variables of the location that a built job names. Pure.

Unused names do no harm (what does not exist is left out later). If the text cannot be read with certainty, the result
is unknown.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_hybrid.cwl.locations.job_paths import MARK, JobPaths
from airflow_hybrid.model import JobScript
from airflow_hybrid.model.jobs import Outside

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"})
_TEXT_OPTION = re.compile(r"-[A-Za-z]*c\Z")
_WORD = re.compile(r"(?<![\w.+/-])[A-Za-z0-9_.+][\w.+-]{0,99}(?![\w.+/-])")
_NO_PATH = r"\s'\"<>|;&()=,:$`*?\[\]{}\\!#" + MARK
_PATH = re.compile(rf"(?<![\w.+%@~}}{MARK}/-])/+[^{_NO_PATH}]*|(?<=\s-\w)/+[^{_NO_PATH}]*")
_OPTION_PATH = re.compile(rf"\A-\w(/[^{_NO_PATH}]*)")
_UPWARDS = re.compile(r"(?:\A|[\s'\"=:,/" + MARK + r"])\.\.(?:/|\Z|[\s'\"])")
_OTHERS_HOME = re.compile(r"(?<![\w/.~-])~[A-Za-z_]")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_BEGINNING = re.compile(r"(?<![^\s/;&|()<>])([^\s/;&|()<>]+)/")
"""characters before the first slash of a path; a run of characters is matched only from its beginning"""
MOST_SHELL_CHARS = 100_000
"""maximum length of shell text; what longer text refers to is unknown"""
MOST_CHARS = 1_000_000
"""maximum length of any other text, likewise"""
_SET = re.compile(r"(?:\b([A-Za-z_]\w*)=|\bfor\s+([A-Za-z_]\w*)|\bread\s+(?:-\w+\s+)*([A-Za-z_]\w*))")
_SEPARATORS = ";&|()\n"
_OPENS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"})
_CLOSES = frozenset({"}", "fi", "done", "esac"})
_COMMAND = re.compile(r"[\w.+-]+|\[\[?|:")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass
class _OutsideNames:
    words: set[str] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)


class UnknownError(Exception):
    """It is unknown what a text refers to."""


def outside_of(script: JobScript, paths: JobPaths) -> Outside | None:
    """What the job names outside its own files; None if that is unknown.

    For a job in a container, only its launcher is outside.
    """
    names = _OutsideNames()
    path = None
    try:
        if script.container is not None:
            if script.container.launcher:
                _arguments(list(script.container.launcher), names, paths)
        else:
            path = script.environment.get("PATH")
            for key, value in script.environment.items():
                if key != "PATH":
                    _text(paths.strip(value), names)
            own_variables = frozenset(script.environment)
            if script.shell:
                _shell(paths.strip(script.command[0]), names, own_variables)
            else:
                _arguments(list(script.command), names, paths, own_variables)
            for entry in script.stage:
                if entry.text is not None:
                    _text(paths.strip(entry.text.decode(errors="surrogateescape")), names)
    except UnknownError:
        return None
    if any("\n" in name or "\t" in name for name in names.files):
        return None
    files = frozenset(re.sub(r"\A/+", "/", name) for name in names.files)
    return Outside(path, frozenset(names.words), frozenset(names.commands), files, frozenset(names.variables))


def _arguments(
    command: list[str], names: _OutsideNames, paths: JobPaths, own_variables: frozenset[str] = frozenset()
) -> None:
    program = paths.strip(command[0])
    if "/" not in program and MARK not in program:
        if not _COMMAND.fullmatch(program) or program.startswith("-"):
            raise UnknownError("a program with an odd name")
        names.commands.add(program)
        names.words.add(program)
    shell = False
    for number, argument in enumerate(command):
        plain = paths.strip(argument)
        if shell and number and _TEXT_OPTION.match(command[number - 1]):
            _shell(plain, names, own_variables)
            continue
        shell = shell or posixpath.basename(argument) in _SHELLS
        if plain.startswith("/"):
            names.files.add(plain)
        names.files.update(_OPTION_PATH.findall(plain))
        _text(plain, names)


def _text(text: str, names: _OutsideNames) -> None:
    """Names in a text of any kind."""
    if len(text) > MOST_CHARS:
        raise UnknownError("text that is too long to be read")
    if _UPWARDS.search(text):
        raise UnknownError("a path that leads out of the job's directory")
    names.words.update(_WORD.findall(text))
    names.files.update(_PATH.findall(text))


def _shell(text: str, names: _OutsideNames, own_variables: frozenset[str]) -> None:
    """Names in shell text."""
    if len(text) > MOST_SHELL_CHARS:
        raise UnknownError("shell text that is too long to be read")
    if _OTHERS_HOME.search(text):
        raise UnknownError("somebody's home")
    known = own_variables | {name for names_set in _SET.findall(text) for name in names_set if name}
    begin_paths = {name for beginning in _BEGINNING.findall(text) for name in _VARIABLE.findall(beginning)}
    if not begin_paths <= known:
        raise UnknownError("a path that a variable of the location begins")
    names.variables.update(name for name in _VARIABLE.findall(text) if name not in known)
    written: list[str] = []
    defined: set[str] = set()
    commands = list(_commands(text, written, defined))
    names.commands.update(command for command in commands if command not in defined)
    read = _OutsideNames()
    _text(text, read)
    mentioned, targets = Counter(_PATH.findall(text)), Counter(written)
    only_written = {path for path in targets if mentioned[path] == targets[path]}
    names.words.update(read.words)
    names.files.update(read.files - only_written)


def _commands(text: str, written: list[str], defined: set[str]) -> Iterator[str]:
    """The words of shell text in the position of a command.

    :param written: gets the targets of redirections. :param defined: gets names of functions.
    :raises UnknownError: a command comes from an expansion, or the text cannot be split into words.
    """
    expects, redirects = True, ""
    tokens = _tokens(text)
    for number, token in enumerate(tokens):
        if token and all(letter in _SEPARATORS for letter in token):
            expects, redirects = True, ""
        elif token and all(letter in "<>&|" for letter in token):
            redirects = token
        elif redirects:
            if redirects.startswith(">"):
                written.append(token)
            redirects = ""
        elif expects and not _ASSIGNMENT.match(token) and token not in _OPENS:
            if tokens[number + 1 : number + 2] == ["()"]:
                defined.add(token)
                continue
            expects = False
            if _is_program(token):
                yield token


def _is_program(word: str) -> bool:
    """Whether the first word of a command is a program's name, and not a path or a keyword of the shell.

    :raises UnknownError: it comes from an expansion, or cannot be a name.
    """
    if "$" in word or "`" in word:
        raise UnknownError("a command that an expansion gives")
    if "/" in word or MARK in word or word in _CLOSES or word.isdigit():
        return False
    if not _COMMAND.fullmatch(word) or word.startswith("-"):
        raise UnknownError("a command with an odd name")
    return True


def _tokens(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=f"{_SEPARATORS}<>")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:
        raise UnknownError("quotes that are not closed") from None
