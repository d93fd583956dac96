# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Programs and files of a location that jobs use but do not own: which ones they are now, and what is in them.

Two commands for all jobs of a batch: one looks names up as the shell would (it starts processes only for programs that
exist), one reads the files (:mod:`airflow_hybrid.sites.hosts.probing.probe`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid import settings, shell_text
from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JsonValue, Question, SiteFacts
from airflow_hybrid.model.jobs import Outside
from airflow_hybrid.sites.hosts.base import (
    PATH_BYTES,
    TASK_BYTES,
    Command,
    Host,
    answer_bytes,
    answers_up_to,
)
from airflow_hybrid.sites.hosts.joining import run_joined
from airflow_hybrid.sites.hosts.probing import probe

MOST_NAMES = 50_000
"""names in one batch; if its jobs use more, they are not looked up"""
MOST_FILES = 2000
"""files of one batch that are read"""
LARGEST = 256 << 20
"""bytes of the largest file that is read only to identify it; a program may be larger"""
_MOST_PATHS = 16
"""different values of PATH in one batch"""
_ENVIRONMENT = (
    "PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC",
    "LC_TIME", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "PERL5LIB", "R_LIBS", "R_LIBS_USER",
    "R_LIBS_SITE", "JAVA_HOME", "CLASSPATH", "NODE_PATH", "RUBYLIB", "CONDA_PREFIX", "LOADEDMODULES",
    "OMP_NUM_THREADS", "POSIXLY_CORRECT",
)  # fmt: skip
"""variables of the location that decide what common programs do, or which ones run"""


@dataclass
class _Look:
    """The shell's answer about names, for one value of PATH.

    :ivar environment: umask and variables, as they were printed.
    :ivar programs: name -> absolute path; ``commands``: those that the shell can run.
    :ivar files: those that exist; ``unknown``: folders, and files that are too large to read for this.
    :ivar interpreters: path of a script -> paths of its interpreters.
    """

    environment: list[str] = field(default_factory=list)
    programs: dict[str, str] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    interpreters: dict[str, list[str]] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Surroundings:
    """What some jobs use of a location.

    :ivar used: by job: programs and files that it uses, with their checksums, and the environment.
    :ivar begun: names of jobs that the task has begun.
    """

    used: Mapping[str, JsonValue] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()


async def surroundings_of(host: Host, jobs: Mapping[str, Outside], task_directory: str) -> Surroundings:
    """What some jobs of a task use of a location.

    A job is left out if this is unknown: a program is not found, it names a folder or a very large file, or there are
    too many names.

    :param task_directory: of the task, whose begun jobs are listed.
    :raises SiteError: the location cannot be asked.
    """
    if not jobs:
        return Surroundings()
    by_path: dict[str | None, list[Outside]] = {}
    for outside in jobs.values():
        by_path.setdefault(outside.path, []).append(outside)
    names = sum(len(o.words) + len(o.files) for o in jobs.values())
    if len(by_path) > _MOST_PATHS or names > MOST_NAMES:
        return Surroundings()
    looks = {path: await _look(host, path, outsides, task_directory) for path, outsides in by_path.items()}
    paths: set[str] = set()
    for look in looks.values():
        paths.update(look.programs.values(), look.files - look.unknown, *look.interpreters.values())
    if len(paths) > MOST_FILES:
        return Surroundings()
    facts = await probe.facts(host, [Question("checksum", path) for path in sorted(paths)])
    used_by_job = {name: _described(outside, looks[outside.path], facts) for name, outside in jobs.items()}
    begun = frozenset().union(*(look.begun for look in looks.values()))
    return Surroundings({name: value for name, value in used_by_job.items() if value is not None}, begun)


def _described(outside: Outside, look: _Look, facts: SiteFacts) -> JsonValue:
    """What a job uses, as JSON; None: it is unknown."""
    if outside.commands - look.commands or outside.files & look.unknown:
        return None
    programs = {name: look.programs[name] for name in outside.words if name in look.programs}
    paths = {*programs.values(), *(outside.files & look.files)}
    for path in list(paths):
        paths.update(look.interpreters.get(path, ()))
    described = {}
    for path in sorted(paths):
        fact = facts.files.get(path)
        if fact is None or fact.kind != "f" or not fact.checksum:
            return None
        described[path] = [fact.realpath, fact.size, fact.checksum]
    return {"programs": programs, "files": described, "environment": look.environment}


async def _look(host: Host, path: str | None, outsides: Sequence[Outside], task_directory: str) -> _Look:
    words = sorted(set().union(*(o.words for o in outsides)))
    commands = sorted(set().union(*(o.commands for o in outsides)))
    files = sorted(set().union(*(o.files for o in outsides)))
    variables = sorted({*_ENVIRONMENT, *set().union(*(o.variables for o in outsides))})
    lines = [f"w {word}" for word in words] + [f"c {word}" for word in commands] + [f"p {file}" for file in files]
    stdin = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    command = Command(
        look_command(path, variables, task_directory), stdin, settings.current().command_timeout, "look for programs"
    )
    with answers_up_to(answer_bytes(len(lines), PATH_BYTES, TASK_BYTES)):
        answer = await run_joined(host, "programs", command)
    try:
        return parse_look(answer.stdout)
    except ValueError as error:
        raise StatusUnknownError(f"the look for programs failed: {error}", where=host.title) from None


def look_command(path: str | None, variables: Sequence[str], task_directory: str) -> str:
    """Shell text that looks names up; its stdin has a line for each: ``w word``, ``c command``, ``p path``.

    :param path: the PATH of the jobs, if it is not the location's. :func:`parse_look` reads its stdout.
    """
    shown = "\n".join(f"printf '{name}=%s\\n' \"${{{name}-}}\"" for name in variables)
    change = "" if path is None else f"PATH={shlex.quote(path)}"
    values = {"VARIABLES": shown, "PATH": change, "BLOCKS": str(LARGEST >> 9), "T": shlex.quote(task_directory)}
    return shell_text.filled(__package__, "programs.sh", values)


def parse_look(answer: bytes) -> _Look:
    """Read the stdout of :func:`look_command`.

    :raises ValueError: it was cut off.
    """
    text = answer.decode(errors="surrogateescape")
    begun, marked, remainder = text.partition("#environment\n")
    environment, looked, remainder = remainder.partition("\n#found\n")
    lines, ended, _ = remainder.partition("#end\n")
    if not marked or not looked or not ended:
        raise ValueError("the answer was cut off")
    look = _Look(environment.split("\n"), begun=frozenset(begun.split("\n")))
    for line in lines.splitlines():
        kind, _, value = line.partition(" ")
        if kind == "c":
            look.commands.add(value)
        elif kind in ("d", "b"):
            look.unknown.add(value)
        elif kind == "f":
            look.files.add(value)
        elif kind == "w":
            name, _, path = value.partition("\t")
            look.programs[name] = path
        elif kind == "i":
            path, _, interpreter = value.partition("\t")
            look.interpreters.setdefault(path, []).append(interpreter)
    return look
