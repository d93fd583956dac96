# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Draws progress at the bottom of a terminal, below all that this process writes meanwhile.

Airflow's loggers keep the file that was stdout when they were made, and libraries and processes write to its
descriptor, so an object in place of ``sys.stderr`` would not see all. Meanwhile stdout and stderr are a terminal of
their own (a pty, so that log lines have their colours), and one thread writes what comes out of it above the progress,
as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import signal
import struct
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment

PAUSE_S = 0.25
"""between two drawings"""
_PIECE = 1 << 16
_LONGEST_LINE = 1 << 14
"""bytes without an end of a line after which they are shown anyway"""
Draw = Callable[[int, int, str], RenderableType]
"""-> what to draw on a terminal with so many columns and rows, and this encoding"""


@contextlib.contextmanager
def drawing(draw: Draw) -> Iterator[None]:
    """Draw on the terminal that stderr is, and erase it at the end. Only one at a time."""
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        saved = [os.dup(number) for number in (1, 2)]
        for number in saved:
            stack.callback(os.close, number)
        read, write = os.openpty()
        _make_plain(write, saved[1])
        stack.callback(os.close, read)
        screen = _Screen(saved[1], sys.stderr.encoding or "utf-8", draw)
        pump = _Pump(read, screen)
        stack.callback(pump.rest)
        stack.callback(_restore, saved)
        stack.callback(pump.stop)
        stack.enter_context(_told_of_continuing(screen))
        for number in (1, 2):
            os.dup2(write, number)
        os.close(write)
        pump.start()
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _make_plain(terminal: int, like: int) -> None:
    """Let a pty hand on what is written as it is, and have the size of another terminal."""
    tty.setraw(terminal)
    columns, rows = _size(like)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _size(terminal: int) -> tuple[int, int]:
    """Columns and rows; those of a terminal that does not know them, as the first ones had."""
    columns, rows = os.get_terminal_size(terminal)
    return columns or 80, rows or 24


def _restore(saved: list[int]) -> None:
    for number, kept in zip((1, 2), saved, strict=True):
        os.dup2(kept, number)


@contextlib.contextmanager
def _told_of_continuing(screen: _Screen) -> Iterator[None]:
    """After Ctrl-Z the cursor is not where the drawing has left it: the shell has written something."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def continued(number: int, frame: Any) -> None:
        screen.is_elsewhere = True

    before = signal.signal(signal.SIGCONT, continued)
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)


class _Pump:
    """The thread that draws, and passes on what was written."""

    def __init__(self, read: int, screen: _Screen) -> None:
        self._read = read
        self._screen = screen
        self._line = b""
        self._is_closed = False
        self._end_read, self._end_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        os.set_blocking(read, False)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show what was written, and erase the drawing."""
        os.close(self._end_write)
        interrupt = None
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt as error:  # the terminal is put back nevertheless
                interrupt = error
        os.close(self._end_read)
        if interrupt is not None:
            raise interrupt

    def rest(self) -> None:
        """Show what was written before stdout and stderr were put back."""
        self._pass_on()
        if self._line:
            self._screen.write(self._line)

    def _run(self) -> None:
        due = 0.0
        while True:
            sources = [self._end_read] if self._is_closed else [self._end_read, self._read]
            ready, _, _ = select.select(sources, [], [], max(0.0, due - time.monotonic()))
            if self._read in ready:
                self._pass_on()
            if self._end_read in ready:
                break
            if time.monotonic() >= due:
                self._screen.draw()
                due = time.monotonic() + PAUSE_S
        self._pass_on()
        self._screen.erase()

    def _pass_on(self) -> None:
        """Show the lines that are complete."""
        while not self._is_closed:
            try:
                piece = os.read(self._read, _PIECE)
            except BlockingIOError:
                return
            except OSError:  # EIO: nobody has its other end any more
                piece, self._is_closed = b"", True
            lines, end, rest = (self._line + piece).rpartition(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, end, rest = lines + end + rest, b"\n", b""
            if end:
                self._screen.write(lines + end)
            self._line = rest


class _AsItIs:
    """Text that was made for the terminal, with its colours."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class _Screen:
    """The terminal. One thread uses it.

    :ivar is_elsewhere: somebody else has written to it, so that the drawing cannot be found again.
    """

    def __init__(self, terminal: int, encoding: str, draw: Draw) -> None:
        self.is_elsewhere = False
        self._terminal = terminal
        self._encoding = encoding
        self._draw = draw
        self._live: Live | None = None
        self._is_gone = False
        self._problem = ""
        raw = io.BufferedWriter(io.FileIO(terminal, "w", closefd=False))
        self._console = Console(
            file=io.TextIOWrapper(raw, encoding=encoding, errors="surrogateescape", newline="\n"),
            force_terminal=True,
            force_interactive=True,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            width=80,
            height=24,
        )

    def draw(self) -> None:
        """Draw anew. In the background, nothing is drawn: the terminal is another one's."""
        if not self._problem:
            self._try(self._redraw)

    def write(self, text: bytes) -> None:
        """Write something above the drawing."""
        if not self._problem:
            self._try(lambda: self._print(text))
        if self._problem:
            self._try(lambda: self._write_plainly(text))

    def erase(self) -> None:
        """Erase the drawing."""
        self._try(self._end)
        if self._problem:
            self.write(f"airflow_hybrid: the progress could not be shown to the end: {self._problem}\n".encode())

    def _try(self, action: Callable[[], None]) -> None:
        """Neither a terminal that is gone nor a defect in a drawing ends the run."""
        if self._is_gone:
            return
        try:
            action()
        except OSError:
            self._is_gone = True
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            live, self._live = self._live, None
            if live is not None:
                live.update("")
                live.stop()

    def _redraw(self) -> None:
        if not self._is_in_foreground():
            self.is_elsewhere = True
        self._find_again()
        if self.is_elsewhere:
            return
        columns, rows = _size(self._terminal)
        # the last column stays empty: some terminals begin a new line when it is written
        self._console.size = ConsoleDimensions(max(1, columns - 1), max(1, rows))
        drawing = self._draw(columns - 1, rows, self._encoding)
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(drawing, refresh=True)

    def _print(self, text: bytes) -> None:
        self._find_again()
        self._console.print(_AsItIs(text.decode(self._encoding, "surrogateescape")), crop=False)

    def _write_plainly(self, text: bytes) -> None:
        while text:
            text = text[os.write(self._terminal, text) :]

    def _end(self) -> None:
        self._find_again()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _find_again(self) -> None:
        """If somebody else has written to the terminal, the drawing stays where it is, and the next one is new."""
        if self.is_elsewhere:
            self._leave()
            self.is_elsewhere = not self._is_in_foreground()

    def _leave(self) -> None:
        if self._live is not None:
            self._live = None
            self._console.pop_render_hook()
            self._console.clear_live()
            self._console.show_cursor(True)

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:  # it is not the terminal that controls this process
            return True
