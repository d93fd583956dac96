# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Long-running child processes with recorded pids: started, killed, restarted, and stopped without a trace.

A pid is recorded with its start time, so that a pid used again by somebody else is never taken for ours. Every child
leads a session of its own and carries a mark in its environment; what it forked and lost is found by that mark.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

MARK = "AIRFLOW_HYBRID_STACK_MARK"


class Processes:
    """Named children of this process.

    :param state: folder for the record (``pids.json``) and the logs (``<name>.log``).
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.record = state / "pids.json"
        self.mark = secrets.token_hex(8)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[list[str], dict[str, str], Path]] = {}
        state.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Start ``argv`` as ``name``; its stdout and stderr go to ``<state>/<name>.log``."""
        self._commands[name] = (list(argv), {**env, MARK: self.mark}, cwd)
        self.restart(name)

    def restart(self, name: str) -> None:
        """Start ``name`` again as before (it must have ended); its log is appended to.

        :raises RuntimeError: if it still runs.
        """
        if self.running(name):
            raise RuntimeError(f"{name} still runs")
        argv, env, cwd = self._commands[name]
        with self.log(name).open("ab") as log:
            self._children[name] = subprocess.Popen(
                argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._write_record()

    def running(self, name: str) -> bool:
        return name in self._children and self._children[name].poll() is None

    def pid(self, name: str) -> int:
        return self._children[name].pid

    def log(self, name: str) -> Path:
        return self.state / f"{name}.log"

    def tail(self, name: str, lines: int = 30) -> str:
        """The last lines of the log of ``name``."""
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def kill(self, name: str, *, family: bool = True) -> None:
        """``kill -9``, without a chance to clean up.

        :param family: also all that it forked and that still descends from it, as when the machine or its container
            dies; False: only the process itself, as the kernel's OOM killer does.
        """
        child = self._children[name]
        victims = [child.pid]
        if family:
            with contextlib.suppress(psutil.NoSuchProcess):
                victims += [p.pid for p in psutil.Process(child.pid).children(recursive=True)]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()

    def stop(self, *last: str, timeout_s: float = 15.0) -> None:
        """Stop all at once, those named ``last`` after the others, then whatever any of them left behind.

        SIGTERM first; what has not ended after ``timeout_s`` gets SIGKILL, as does the rest of its session.
        """
        self._terminate([name for name in self._children if name not in last], timeout_s)
        self._terminate([name for name in last if name in self._children], timeout_s)
        sweep(self.mark)
        self.record.unlink(missing_ok=True)

    def _terminate(self, names: Sequence[str], timeout_s: float) -> None:
        children = [self._children.pop(name) for name in names]
        for child in children:
            if child.poll() is None:
                child.terminate()
        end = time.monotonic() + timeout_s
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, end - time.monotonic()))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _write_record(self) -> None:
        rows = {}
        for name, child in self._children.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                rows[name] = {"pid": child.pid, "started_s": psutil.Process(child.pid).create_time()}
        new = self.record.with_suffix(".new")
        new.write_text(json.dumps({"mark": self.mark, "processes": rows}))
        new.replace(self.record)


def stop_recorded(record: Path, timeout_s: float = 15.0) -> list[str]:
    """End what an earlier :class:`Processes` left running (it was itself killed); give the names of what was ended."""
    try:
        left = json.loads(record.read_text())
    except (OSError, ValueError):
        return []
    ended = []
    for name, row in left["processes"].items():
        try:
            process = psutil.Process(row["pid"])
            if abs(process.create_time() - row["started_s"]) > 0.5:
                continue
            process.terminate()
            ended.append(name)
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    sweep(left["mark"])
    record.unlink(missing_ok=True)
    return ended


def marked(mark: str) -> list[psutil.Process]:
    """Processes of this user that carry ``mark``: children, their children, and orphans of both."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(process)
    return found


def sweep(mark: str, timeout_s: float = 5.0) -> None:
    """Kill what carries ``mark`` until nothing does."""
    end = time.monotonic() + timeout_s
    while (left := [p for p in marked(mark) if p.status() != psutil.STATUS_ZOMBIE]) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.05)


def end_server(server: subprocess.Popen[Any], number: int = signal.SIGTERM) -> None:
    """End a server that a test has started, politely first."""
    server.send_signal(number)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
