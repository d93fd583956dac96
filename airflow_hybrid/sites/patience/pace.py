# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a site asks to be done at most so often a minute, by all processes of this machine together.

Each name has a file with the times of its last turns, and of those that somebody waits for. Whoever wants a turn books
the first time that leaves no minute with more of them, and waits until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator

from airflow_hybrid import settings
from airflow_hybrid.errors import ConfigError

log = logging.getLogger(__name__)

WINDOW_S = 61.0
"""a minute, and what a command may take longer than another until its host sees it"""
TOLD_S = 10.0
"""the log has longer waits"""
_BYTES = struct.calcsize("d")
_MOST_BYTES = 8 << 20
_LOCK_PAUSE_S = 0.01
_HINT = "it must belong to the user of Airflow, with mode 0700: see `login_dir` in docs/reference/configuration.md"


async def turn(name: str, per_minute: int, setting: str, count: int = 1) -> None:
    """Wait until something may be done.

    :param name: of what is done, and where: ``commands ann@login.example.org``.
    :param per_minute: how often; 0: as often as one likes.
    :param setting: that says so, for the log.
    :param count: how many turns it takes.
    :raises ConfigError: the folder that this machine's processes share cannot be used.
    """
    if per_minute <= 0:
        return
    path = await asyncio.to_thread(_path, name)
    while (turns := await asyncio.to_thread(_booked, path, per_minute, count)) is None:
        await asyncio.sleep(_LOCK_PAUSE_S)
    wait_s = turns[-1] - time.time()
    if wait_s > TOLD_S:
        log.info("%s: the next one is in %.0f s: `%s` allows %d a minute", name, wait_s, setting, per_minute)
    if wait_s > 0:
        try:
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            _give_back(path, turns)
            raise


async def submission_turn(scheduler: str, account: str, arrays: int) -> None:
    """Wait until a queue system may be given some more arrays of jobs.

    :param account: that submits them.
    :raises ConfigError: see :func:`turn`.
    """
    limit = settings.current().submissions_per_minute
    await turn(f"submissions to {scheduler} at {account}", limit, "submissions_per_minute", arrays)


def booked(times: list[float], per_minute: int, count: int, now: float) -> tuple[list[float], float]:
    """Book turns.

    :param times: those that were booked before, ascending, in seconds since the epoch.
    :return: all times that still count, and that of the last new turn.
    """
    kept = sorted(time for time in times if time > now - WINDOW_S)  # a damaged file may have any, in any order
    if kept and kept[-1] - now > WINDOW_S * (1 + len(kept) / per_minute):
        kept = []  # nobody books so far ahead: the clock was set back, or the file is damaged
    for _ in range(count):
        last = kept[-1] if kept else now
        free = kept[-per_minute] + WINDOW_S if len(kept) >= per_minute else now
        kept.append(max(now, last, free))
    return kept, kept[-1]


def _booked(path: str, per_minute: int, count: int) -> list[float] | None:
    """Book turns in a file; their times, or None while another process has the file."""
    with _locked(path) as file:
        if file is None:
            return None
        times, _ = booked(_read(file), per_minute, count, time.time())
        _write(file, times)
        return times[-count:]


def _give_back(path: str, turns: list[float]) -> None:
    """Turns that nobody waits for any more are for others; while another process has the file, they stay booked."""
    now = time.time()
    with _locked(path) as file:
        if file is None:
            return
        times = _read(file)
        for turn_s in turns:
            if turn_s > now and turn_s in times:
                times.remove(turn_s)
        _write(file, times)


def _read(file: int) -> list[float]:
    data = os.read(file, _MOST_BYTES)
    data = data[: len(data) - len(data) % _BYTES]
    return [row[0] for row in struct.iter_unpack("d", data)]


def _write(file: int, times: list[float]) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, struct.pack(f"{len(times)}d", *times), 0)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int | None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file
    finally:
        os.close(file)


def _path(name: str) -> str:
    """The file of a name.

    :raises ConfigError: the folder is somebody else's, or others may enter it.
    """
    machine = os.path.join(settings.current().login_dir, socket.gethostname())
    folder = os.path.join(machine, "pace")
    try:
        os.makedirs(machine, mode=0o700, exist_ok=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        state = os.lstat(folder)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}", hint=_HINT) from None
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
        raise ConfigError(f"the folder {folder} is open to other users, or theirs", hint=_HINT)
    return os.path.join(folder, hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:20])
