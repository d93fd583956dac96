# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What shells, interpreters and runtimes of containers say of a program that cannot be started, or of a script that
cannot be read. The kernel says `No such file or directory` also of a script whose interpreter is missing: only some
shells look for the difference.
"""

from __future__ import annotations

import re

from airflow_hybrid.reasons.actions import NEXT_TRY
from airflow_hybrid.reasons.explanation import Rule

PATH = (
    "is it on the PATH of jobs there? `path` of the deployment adds folders; load a module in the service's template"
    " (`file`); name a container by DockerRequirement"
)
_QUOTE = "['\u2018\u2019]?"
"""of the programs of GNU; curly where the locale has such"""
_RETURN = re.compile(r"\r(?=['\u2019]?: |['\u2019]+(?: unexpected)?\r?(?:\n|\Z))")
_NO_FILE = r"[Nn]o such file or directory"

_NO_LOADER = "a program is there, but not what starts it (the interpreter of its first line, `#!`, or its loader)"
_LOADER = (
    "name an interpreter that is there; a line end of Windows counts as a part of its name (`dos2unix`); a compiled"
    " program may be for another C library (glibc, musl)"
)
_FOREIGN = "the system cannot run it: a program for another kind of processor, or a script without `#!`"
_TAKE_FITTING = (
    "`file` at the site says what it is, `uname -m` what the nodes are; take the program, or an image, for them, and"
    " begin a script with `#!` and its interpreter"
)

UNREADABLE = (
    Rule(
        rf"\^M(['\u2019\]]|: |$)|env: {_QUOTE}[^\s:]+?\\r{_QUOTE}: {_NO_FILE}"
        r"|\$'[^']*\\r'|: command not found:$|set:.*(illegal|bad) option:? -$|uses Windows line endings",
        "its script has the line ends of Windows, of which the carriage return counts as a part of names",
        "`dos2unix` or `sed -i 's/\\r$//'` removes them; for a script in git, `*.sh text eol=lf` in .gitattributes",
    ),
    Rule(
        rf"env: ['\u2018](?P<words>[^\s:'\u2019]+ [^:'\u2019]+)['\u2019]: {_NO_FILE}",
        "the first line of its script (`#!`) has options, which env takes for a part of the program's name: {words}",
        "`#!/usr/bin/env -S {words}` splits them (coreutils 8.30); or name the interpreter without options",
    ),
    Rule(
        r"bad interpreter: (?P<own>\S+): permission denied|(?<!\S)(?P<bash>\S+): bad interpreter: Permission denied",
        "the interpreter that the first line of its script (`#!`) names may not be executed: {own}{bash}",
        "may jobs execute it (`ls -l`), and does the file system of the script allow programs (mount option `noexec`)?",
    ),
    Rule(
        r"bad interpreter: (?P<zsh>\S+): (no such file|not a directory)|(?<!\S)(?P<bash>\S+): bad interpreter: (?!/)"
        r"|specified the interpreter '(?P<fish>[^']+)', which is not",
        "the interpreter that the first line of its script (`#!`) names is not there: {zsh}{bash}{fish}",
        "name one that is there, or let `#!/usr/bin/env NAME` look for it on the PATH; or name a container by"
        " DockerRequirement",
    ),
    Rule(
        rf"(?<![^\s:])(?P<bash>[^\s:]+): cannot execute: required file not found"
        rf"|\bexec:? {_QUOTE}(?P<exec>/[^\s:]+?){_QUOTE}(?: failed)?: {_NO_FILE}"
        r"|Error: +(?P<mpi>\S+) has a bad interpreter on the first line",
        f"{_NO_LOADER}: {{bash}}{{exec}}{{mpi}}",
        _LOADER,
    ),
    Rule(rf"exec user process caused:? \"?{_NO_FILE}", _NO_LOADER, _LOADER),
    Rule(
        r"image's architecture \((?P<image>[\w/]+)\) could not run on the host's \((?P<host>[\w/]+)\)",
        "its image is for another kind of processor ({image}, and the node has {host})",
        "name an image for the processors there (`docker pull --platform` shows which there are)",
    ),
    Rule(
        r"(?<![^\s:\[])(?P<sh>[^\s:\[]+): (cannot execute (binary file: |\[))?Exec format error(?!:)"
        r"|exec format error: '?(?P<zsh>[^\s']+)|(?<![^\s:])(?P<bash>[^\s:]+): cannot execute binary file"
        r"|(?<![^\s:])(?P<elf>[^\s:]+): (line )?\d+: \S*ELF\S*: (command )?not found"
        r"|process:? '(?P<fish>[^']+)' the file could not be run by the operating system"
        r"|exec (?P<exec>/[^\s:]+): exec format error",
        f"{_FOREIGN}: {{sh}}{{zsh}}{{bash}}{{elf}}{{fish}}{{exec}}",
        _TAKE_FITTING,
    ),
    Rule(r"exec format error", _FOREIGN, _TAKE_FITTING),
    Rule(
        r"(?<![^\s:\[])(?P<sh>[^\s:\[]+): (cannot execute \[)?Argument list too long(?!:)"
        r"|argument list too long: (?P<zsh>\S+)",
        "an argument of its command line is longer than the system allows (128 KiB on Linux), or all of them together"
        " are",
        "let the document write long lists into a file (InitialWorkDirRequirement, `loadListing`) and give its name",
    ),
    Rule(
        r"(?<![^\s:\[])(?P<sh>[^\s:\[]+): (cannot execute \[)?Text file busy",
        "a program was being written when it should have been started: {sh}",
        f"let who writes it end first; {NEXT_TRY} may find it whole",
    ),
    Rule(
        r"(?<![^\s:])(?P<ksh>[^\s:]+): cannot execute \[Is a directory"
        r"|^\S*sh: line \d+: (?P<bash>\S+): Is a directory$",
        "it should run, or write to, a folder: {ksh}{bash}",
        "name a program, or a file, in it",
    ),
)
"""scripts and programs that are there, and cannot be run"""

PROGRAMS = (
    Rule(
        r"^\S*sh: (\d+: )?(exec: )?(line \d+: )?(?P<sh>[^\s:]*/[^\s:]+): not found$"
        r"|^(?P<csh>[^\s:]*/[^\s:]+): Command not found\.$"
        r"|(failed to run command|failed to execute|unable to execute|can't execute|cannot run|can't execve\(2\):|env:)"
        rf" {_QUOTE}(?P<run>[^\s:]*/[^\s:]+?){_QUOTE}: {_NO_FILE}",
        "a program, or what starts it (the interpreter of its first line, `#!`, or its loader), is not there:"
        " {sh}{csh}{run}",
        f"is the program there (`ls -l`)? If it is: {_LOADER}",
    ),
    Rule(
        r"^(\S*sh|\S+): (exec: )?(line )?\d*:? ?(exec: )?(?P<program>[^\s:]+): (command )?not found$"
        r"|^(\S*sh: )?(?P<command>[^\s:]+): command not found\.?$"
        r"|\bcommand not found: (?P<zsh>[^\s:]+)$|Unknown command:? '?(?P<fish>[^\s']+?)'?$"
        r"|\"(?P<exec>[^\"]+)\": (executable file not found in \$PATH|stat \S+: no such file or directory)"
        rf"|^FATAL: +stat (?P<apptainer>\S+): {_NO_FILE}"
        r"|executable file `(?P<crun>[^`]+)` not found"
        rf"|(failed to run command|failed to execute|unable to execute|can't execute|cannot run"
        rf"|can't execve\(2\):|env:) {_QUOTE}(?P<run>[^\s:]+?){_QUOTE}: {_NO_FILE}"
        rf"|^\S+: line \d+: (?P<bash>/[^\s:]+): {_NO_FILE}$"
        rf"|exec[lv]p?e?(\(2?\))?:? (?P<launcher>[^\s:()]+): {_NO_FILE}"
        rf"|execvp error on file (?P<hydra>\S+) \({_NO_FILE}"
        rf"|\bexec[lv]p?e?\(\"?(?P<shepherd>[^\s\",()]+)[^()]*\)[^:]*: {_NO_FILE}"
        rf"|Can't exec \"(?P<perl>[^\"\s]+)\": {_NO_FILE}|Cannot run program \"(?P<java>[^\"]+)\".*error=2\b"
        r"|spawn(Sync)? (?P<node>\S+) ENOENT|^Executable: (?P<mpi>\S+)$"
        rf"|^make(\[\d+\])?: (?P<make>[^\s:*]+): {_NO_FILE}$"
        r"|FileNotFoundError: .*No such file or directory: '(?P<file>[^'/]+)'$",
        "a program was not found: {program}{command}{zsh}{fish}{exec}{apptainer}{crun}{run}{bash}{launcher}{hydra}"
        "{shepherd}{perl}{java}{node}{mpi}{make}{file}",
        PATH,
    ),
)
"""programs that are not there"""


def with_returns(stderr: str) -> str:
    """Carriage returns that are a part of a name in a message, as ``^M``: a script's line ends of Windows."""
    return _RETURN.sub("^M", stderr) if "\r" in stderr else stderr
