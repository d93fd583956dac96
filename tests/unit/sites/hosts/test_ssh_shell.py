# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from airflow_hybrid.sites.hosts.ssh.shell import after_marker, argument_line, piped, remote_command
from tests.raising import raising

NASTY = 'it\'s "$HOME" `x` !! \\n \\0101 %s\t-é\n#*?[a] {b,c} ~ ^ & ;\\'


def login_shell(line: str, stdin: bytes = b"", noise: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["/bin/sh", "-c", f"{noise}\n{line}"], input=stdin, capture_output=True)


def test_text_is_restored_byte_by_byte() -> None:
    line = argument_line(f"printf %s {shlex.quote(NASTY)}; exit 7")
    assert line is not None
    ended = login_shell(line)
    assert (ended.returncode, after_marker(ended.stdout)) == (7, NASTY.encode())


def test_a_name_that_is_not_utf8_is_kept() -> None:
    line = argument_line("printf %s " + os.fsdecode(b"a\xff\xfeb"))
    assert line is not None and after_marker(login_shell(line).stdout) == b"a\xff\xfeb"


def test_the_line_has_no_character_that_a_login_shell_could_change() -> None:
    line = argument_line(NASTY + "\n\r\x1b'é!")
    assert line is not None
    quoted = line.split("sh '", 1)[1].rsplit("'", 1)[0]
    assert line.isascii() and line.isprintable() and not set(quoted) & set("'!\n")


def test_noise_of_start_up_files_is_cut_off() -> None:
    line = argument_line("echo out; echo err >&2")
    assert line is not None
    ended = login_shell(line, noise="echo hello; printf 'no end'; printf 'no end' >&2")
    assert (after_marker(ended.stdout), after_marker(ended.stderr)) == (b"out\n", b"err\n")
    assert after_marker(b"just noise\n") is None


@pytest.mark.parametrize("size", [10, 59_000, 61_000, 300_000])
def test_long_text_precedes_stdin_and_takes_nothing_of_it(size: int) -> None:
    line, preamble = remote_command(f"# {'x' * size}\nprintf %s {shlex.quote(NASTY)}; cat; exit 3")
    assert len(line) < 100_000 and bool(preamble) == (size > 60_000)
    ended = login_shell(line, preamble + b"tail\0")
    assert (ended.returncode, after_marker(ended.stdout)) == (3, NASTY.encode() + b"tail\0")


def test_long_text_is_read_where_dd_has_no_fullblock(tmp_path: object) -> None:
    line, preamble = remote_command(f"# {'x' * 70_000}\ncat")
    old = 'dd() { case "$*" in *fullblock*) return 1;; esac; command dd "$@"; }; '
    line = line.replace("/bin/sh -c '", f"/bin/sh -c '{old}".replace("'", "'", 1))
    assert after_marker(login_shell(line, preamble + b"rest").stdout) == b"rest"


def test_no_nul_gets_into_a_command() -> None:
    with raising(ValueError, "a shell command cannot hold a NUL character"):
        argument_line("echo \0")


def test_a_pipe_keeps_bytes_and_exit_code(tmp_path: object) -> None:
    fake = ["/bin/sh", "-c", 'echo noise; eval "$0"']
    text = piped(fake, "cat; exit 9")
    assert text is not None
    ended = subprocess.run(["/bin/sh", "-c", text], input=b"\0a\nb", capture_output=True)
    assert (ended.returncode, ended.stdout) == (9, b"\0a\nb")
    assert piped(fake, "x" * 70_000) is None
