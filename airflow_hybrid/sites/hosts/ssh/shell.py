# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How shell text passes through a login shell unchanged. Pure text; no I/O.

sshd passes a command to the user's *login shell*, which may be csh or fish, and whose start-up files may print. So
the command line contains only characters that every shell takes literally between single quotes, replaces the login
shell by ``/bin/sh``, and prints a marker line first; whatever comes before the marker is noise. Text that is too long
for an argument (Linux: 128 KiB, ``MAX_ARG_STRLEN`` in execve(2)) precedes the caller's stdin instead.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence

from airflow_hybrid.model.clean_shell import CLEAN_SHELL

MARKER = f"airflow-hybrid-{secrets.token_hex(8)}"
"""this process's marker for the start of a command's own output"""

_SHELL = f"exec {' '.join(CLEAN_SHELL)}"
ARGUMENT_LIMIT_BYTES = 60_000
_BLOCK_BYTES = 4096
_MARK = f"echo;echo {MARKER};echo {MARKER}>&2;"
_UNSAFE = re.compile(rb"[^A-Za-z0-9_./:,;<>()\[\]{}|&$\"`~#*?+@%^= -]")


def encode(command: str) -> bytes:
    """The bytes of a command; names with bytes that are not UTF-8 are kept (PEP 383).

    :raises ValueError: the text contains a NUL, which no shell accepts.
    """
    data = command.encode(errors="surrogateescape")
    if b"\0" in data:
        raise ValueError("a shell command cannot hold a NUL character")
    return data


def argument_line(command: str) -> str | None:
    """A command line for any login shell that runs ``command`` with ``/bin/sh``; None if it would be too long.

    ``printf %b`` restores what is not safe in every shell (quotes, ``!``, backslashes, line ends, bytes over 127).
    """
    data = _UNSAFE.sub(_escaped, encode(command))
    if len(data) > ARGUMENT_LIMIT_BYTES:
        return None
    return f"""{_SHELL} -c '{_MARK}eval "set --;$(printf %b "$1")"' sh '{data.decode()}'"""


def _escaped(unsafe: re.Match[bytes]) -> bytes:
    """A byte as ``printf %b`` restores it; line ends, of which there are many, in two bytes."""
    if unsafe.group() == b"\n":
        return b"\\n"
    return b"\\0%03o" % unsafe.group()[0]


def remote_command(command: str) -> tuple[str, bytes]:
    """The command line for sshd, and what to send before the caller's stdin.

    The second form reads an exact number of bytes from stdin: in whole blocks if dd can (GNU, busybox, BSD), otherwise
    byte by byte, which is slow but never reads too far.
    """
    line = argument_line(command)
    if line is not None:
        return line, b""
    encoded = encode(command)
    blocks = -(-len(encoded) // _BLOCK_BYTES)
    line = (
        f"{_SHELL} -c '{_MARK}"
        "if dd iflag=fullblock count=0 </dev/null >/dev/null 2>&1;"
        f'then eval "$(dd bs={_BLOCK_BYTES} count={blocks} iflag=fullblock 2>/dev/null)";'
        f'else eval "$(dd bs=1 count={blocks * _BLOCK_BYTES} 2>/dev/null)";fi\''
    )
    return line, encoded.ljust(blocks * _BLOCK_BYTES, b"\n")


def piped(ssh: Sequence[str], command: str) -> str | None:
    """Text for a POSIX sh that runs ``command`` through the ssh command ``ssh`` with clean stdio; None if too long.

    Noise before the marker is read line by line and dropped, everything else is copied; the exit code is ssh's own.
    """
    line = argument_line(command)
    if line is None:
        return None
    remote = shlex.join([*ssh, line])
    skip = f'while IFS= read -r l;do [ "$l" = {MARKER} ]&&exec cat;done;exit 1'
    return f"exec 4>&1;c=$({{ {{ {remote} 3>&- 4>&-;echo $?>&3;}}|{{ {skip};}}>&4 3>&-;}} 3>&1);exit ${{c:-255}}"


def after_marker(output: bytes) -> bytes | None:
    """The part of ``output`` after the marker line; None if there is no marker."""
    _, marker, own_output = output.partition(f"{MARKER}\n".encode())
    return own_output if marker else None
