# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the end of a failed job's stderr tells: programs, interpreters and systems say some things in the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_hybrid.reasons.explanation import Explanation, Rule, first_of, one_line
from airflow_hybrid.reasons.programs import PROGRAMS, UNREADABLE, with_returns

MOST_LINES = 100
"""of the end of a stderr that are looked at"""

_NETWORK = (
    "can the nodes there reach it? Many clusters' nodes cannot: let a step at another site fetch it, or make it an"
    " input of"
    " the workflow"
)
DISK = "make room there (`df`, `quota`), or point `workdir` of the deployment to another file system"

CLUES = (
    Rule(
        r"ModuleNotFoundError: No module named '(?P<module>[^']+)'|ImportError: No module named (?P<older>[\w.]+)",
        "Python finds no module `{module}{older}`",
        "install it for the Python that runs there, load its environment in the service's template (`file`), or name a"
        " container by DockerRequirement",
    ),
    Rule(
        r"there is no package called .(?P<package>[\w.]+).",
        "R finds no package `{package}`",
        "install it for the R that runs there, load its environment in the service's template (`file`), or name a"
        " container"
        " by DockerRequirement",
    ),
    Rule(
        r"Can't locate (?P<module>[\w:/.]+)\.pm in @INC",
        "Perl finds no module `{module}`",
        "install it for the Perl that runs there, load its environment in the service's template (`file`), or name a"
        " container by DockerRequirement",
    ),
    Rule(
        r"error while loading shared libraries: (?P<library>[^\s:]+)",
        "a shared library is missing: {library}",
        "load the module that has it in the service's template (`file`), or name a container by DockerRequirement",
    ),
    Rule(
        r"version `(?P<version>GLIBC\w*_[\d.]+)' not found",
        "the program was built for a newer system ({version})",
        "build it at the site, or name a container by DockerRequirement",
    ),
    Rule(
        r"(Lmod has detected the following error|Unable to locate a modulefile for|ModuleCmd_Load)",
        "a module that the template loads is not there",
        "`module avail` at the site lists them; correct the service's `file`",
    ),
    Rule(r"No space left on device", "a disk was full", DISK),
    Rule(r"Disk quota exceeded", "a disk quota was used up", DISK),
    Rule(
        r"Read-only file system",
        "it wrote to a file system that may only be read",
        "tools may write to their working directory and to TMPDIR only; for others, use InitialWorkDirRequirement",
    ),
    Rule(
        r"CUDA out of memory|CUDA_ERROR_OUT_OF_MEMORY",
        "the memory of its GPU was not enough",
        "give the tool less at a time, or ask for a larger GPU (options of the service)",
    ),
    Rule(
        r"\bMemoryError\b|std::bad_alloc|java\.lang\.OutOfMemoryError|[Cc]annot allocate memory|out of memory"
        r"|oom[-_ ]kill|cannot allocate vector of size|DUE TO MEMORY|exceeded memory limit",
        "it ran out of memory",
        "{memory}",
    ),
    Rule(
        r"(no CUDA-capable device|CUDA driver version is insufficient|Found no NVIDIA driver|libcuda\.so)",
        "it found no GPU that it can use",
        "add CUDARequirement to the step, or `gres` or `gpus` to the service in the hybrid file",
    ),
    Rule(r"DUE TO TIME LIMIT", "it ran longer than its time limit", "{time}"),
    Rule(
        r"(could not resolve|unable to resolve|temporary failure in name resolution|name or service not known"
        r"|unknown host|no address associated)( host:? ?(?P<host>[\w.-]+))?",
        "it could not find a host by its name {host}",
        _NETWORK,
    ),
    Rule(
        r"connection (refused|timed out|reset by peer)|network is unreachable|no route to host|failed to connect to"
        r"|SSL: CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "it could not reach another host",
        _NETWORK,
    ),
    Rule(
        r"too many open files",
        "it had more files open than the system allows",
        "`ulimit -n` in the service's template (`file`) may raise the limit",
    ),
    Rule(
        r"Illegal instruction",
        "the node's processor lacks instructions that the program needs",
        "build it for the nodes there, or let the service choose newer nodes (`constraint`, `nodeSelector`)",
    ),
    *UNREADABLE,
    Rule(
        r"(?<![^\s:'\"])(?P<path>[^\s:'\"]*/[^\s:'\"]+)['\"]?: (cannot execute (\[|: )?)?Permission denied"
        r"|Permission denied: ['\"]?(?P<file>[^\s'\"]+)|'(?P<fish>[^']+)' exists but is not an executable file",
        "it was not allowed to use {path}{file}{fish}",
        "who owns it, and with which permissions (`ls -l`)? Programs need permission to execute",
    ),
    Rule(r"permission denied", "it was not allowed to use something", "its stderr says what"),
    *PROGRAMS,
)
"""the most telling first"""


def clue_in(stderr: str) -> str:
    """The line of the end of a stderr that tells most; ``""``: none is known."""
    lines = [one_line(line) for line in with_returns(stderr).splitlines()[-MOST_LINES:]]
    for rule in CLUES:
        for line in reversed(lines):
            if re.search(rule.pattern, line, re.IGNORECASE):
                return line
    return ""


def telling_line(stderr: str) -> str:
    """The same, or else the last line that says something."""
    lines = [one_line(line) for line in with_returns(stderr).splitlines()[-MOST_LINES:]]
    return clue_in(stderr) or next((line for line in reversed(lines) if line), "")


def explained(line: str, words: Mapping[str, str]) -> Explanation | None:
    """What a line of a stderr tells; None: nothing that is known here.

    :param words: ``memory`` and ``time``: how to get more of them.
    """
    return first_of(CLUES, line, words)
