# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a command in a pod gets its stdin, for every shell that may be the pod's."""

from __future__ import annotations

import subprocess

import pytest

from airflow_hybrid import shell_text
from tests.needs import SHELLS, posix_shell


def framed(*frames: bytes) -> bytes:
    return b"".join(b"%d\n%s" % (len(frame), frame) for frame in frames)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("command", "stdin", "ended"),
    [
        (b"cat; echo e >&2; exit 3", framed(b"a\n\0b", b"\n") + b"0\n", (3, b"a\n\0b\n", b"e\n")),
        (b"head -c 1\nexit 4\n\n", framed(b"a\n\0b"), (4, b"a", b"")),  # the rest of it may come for ever
    ],
)
def test_a_command_in_a_pod_gets_its_stdin(
    shell: str, command: bytes, stdin: bytes, ended: tuple[int, bytes, bytes]
) -> None:
    script = shell_text.load("airflow_hybrid.sites.kubernetes", "frames.sh")
    done = subprocess.run([*posix_shell(shell), "-c", script], input=framed(command) + stdin, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == ended


@pytest.mark.parametrize("shell", SHELLS)
def test_no_command_is_an_error(shell: str) -> None:
    script = shell_text.load("airflow_hybrid.sites.kubernetes", "frames.sh")
    assert subprocess.run([*posix_shell(shell), "-c", script], input=b"", capture_output=True).returncode == 125
