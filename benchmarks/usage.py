# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CPU time and peak memory of everything that this process started, read from ``/proc`` (Linux)."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans among our descendants become our children, so that none escapes the count"""
ELSEWHERE = "detached"
"""name of what no named process is the ancestor of: detached launchers and their jobs"""


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own.

    :raises OSError: if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    cpu_s: float
    """its own, and that of the children that it has waited for"""


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            # proc(5): the name, field 2, is in parentheses and may hold anything; field 4 is the parent's pid,
            # 14 to 17 are utime, stime, cutime and cstime
            fields = stat[stat.rindex(")") + 2 :].split()
            found[int(entry)] = _Process(int(entry), int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
    return found


def _families(named: Mapping[str, int]) -> dict[int, str]:
    """Pid -> name, of all descendants of this process."""
    processes = _processes()
    names = {pid: name for name, pid in named.items()}
    me = os.getpid()
    found: dict[int, str] = {}
    for process in processes.values():
        walk: _Process | None = process
        name = None
        while walk is not None and walk.pid != me:
            name = name or names.get(walk.pid)
            walk = processes.get(walk.parent)
        if walk is not None and process.pid != me:
            found[process.pid] = name or ELSEWHERE
    return found


def cpu_s(named: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each named process with all its descendants, and of :data:`ELSEWHERE`.

    :param named: name -> pid, children of this process.
    """
    processes = _processes()
    totals = dict.fromkeys([*named, ELSEWHERE], 0.0)
    for pid, name in _families(named).items():
        if pid in processes:
            totals[name] += processes[pid].cpu_s
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    totals[ELSEWHERE] += ended.ru_utime + ended.ru_stime
    return totals


def reap(keep: Mapping[str, int]) -> None:
    """Wait for the adopted orphans that have ended, so that they do not stay as zombies; not for the named ones."""
    me = os.getpid()
    for process in _processes().values():
        if process.parent == me and process.pid not in keep.values():
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                continue


@dataclass
class PeakMemory:
    """Samples the highest resident memory (VmHWM) of single processes while a block runs.

    :ivar named: name -> pid. ``scheduler`` counts its children as ``worker``: LocalExecutor's tasks.
    :ivar interval_s: a process that ends between two samples is seen as it was at the first.
    :ivar peaks_mib: name -> MiB of the largest process of that name.
    """

    named: Mapping[str, int]
    interval_s: float = 0.25
    peaks_mib: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> PeakMemory:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peak-memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._sample()

    def _sample(self) -> None:
        for pid, name in _families(self.named).items():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if name == "scheduler" and pid != self.named[name]:
                name = "worker"
            if peak := re.search(r"^VmHWM:\s+(\d+) kB", status, re.M):
                self.peaks_mib[name] = max(self.peaks_mib.get(name, 0.0), int(peak.group(1)) / 1024)
