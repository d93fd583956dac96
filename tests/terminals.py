# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A terminal for tests: a real pty, and an emulator that says what a person would see."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte

LONGEST_S = 240.0
"""what is not there by then does not come"""


class Terminal:
    """A process whose stderr is a terminal of which it is the foreground.

    :ivar raw: all bytes that it was sent.
    """

    def __init__(self, master: int, process: subprocess.Popen[bytes], columns: int, rows: int) -> None:
        self.raw = b""
        self.process = process
        self._master = master
        self._screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, and what has gone out of it at its top."""
        history = ["".join(line[x].data for x in range(len(line))) for line in self._screen.history.top]
        lines = [line.rstrip() for line in [*history, *self._screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def shows_cursor(self) -> bool:
        return not self._screen.cursor.hidden

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def shell_writes(self, text: str) -> None:
        """Somebody else writes to the terminal."""
        self._stream.feed(text.replace("\n", "\r\n").encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)

    def until(self, is_there: Callable[[list[str]], Any]) -> list[str]:
        """Wait until the screen is so; -> its lines."""
        end = time.monotonic() + LONGEST_S
        while not is_there(self.lines):
            assert time.monotonic() < end, self.lines
            assert self._read(1.0), self.lines
        return self.lines

    def to_the_end(self) -> tuple[int, list[str]]:
        """-> the exit code, and what is on the screen."""
        end = time.monotonic() + LONGEST_S
        while self._read(1.0):
            assert time.monotonic() < end, self.lines
        return self.process.wait(LONGEST_S), self.lines

    def _read(self, seconds: float) -> bool:
        """Whether there may be more."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, size: tuple[int, int] = (100, 24)
) -> Iterator[Terminal]:
    """Run a command on a terminal of so many columns and rows."""
    columns, rows = size
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={"TERM": "xterm-256color", **environment},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        stack.callback(os.close, master)
        os.close(slave)
        try:
            terminal = Terminal(master, process, columns, rows)
            yield terminal
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _own_terminal() -> None:
    """Make stdin the terminal that controls the new session, so that Ctrl-C interrupts its foreground."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
