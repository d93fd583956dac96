# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the fake queue systems share: jobs in files, and a process per submit that really runs its elements.

Files in the folder ``$FAKE`` steer them: ``down`` (nothing answers), ``lose`` (the next submit is accepted and its
answer lost), ``hold`` (nothing starts), ``slots`` (elements of a job at a time), ``nohistory``, ``max_array``,
``comment`` (why nothing runs).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FAKE = Path(os.environ.get("FAKE", "."))
Job = dict[str, Any]


def switch(name: str) -> bool:
    return (FAKE / name).exists()


def setting(name: str, default: str) -> str:
    return (FAKE / name).read_text().strip() if switch(name) else default


def note(program: str, argv: list[str]) -> None:
    """Remember a call, for tests that count them."""
    with (FAKE / f"calls.{program}").open("a") as log:
        log.write(" ".join(argv) + "\n")


def lost() -> bool:
    """Whether the answer to this submit gets lost; that happens once."""
    if switch("lose"):
        (FAKE / "lose").unlink()
        return True
    return False


@contextlib.contextmanager
def store() -> Iterator[dict[str, Job]]:
    """All jobs by number, under a lock; written back at the end."""
    with (FAKE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = FAKE / "jobs.json"
        jobs = json.loads(path.read_text()) if path.exists() else {}
        yield jobs
        new = FAKE / "jobs.new"
        new.write_text(json.dumps(jobs))
        new.rename(path)


def add(job: Job, tasks: list[int]) -> str:
    """A new job with elements; a process of its own runs them. Returns the number."""
    with store() as jobs:
        number = str(len(jobs) + 100)
        elements = {str(task): {"state": "Q", "exit": None, "pid": None} for task in tasks}
        jobs[number] = {**job, "user": os.environ.get("USER", ""), "elements": elements}
    subprocess.Popen(
        [sys.executable, "-S", "-E", *sys.argv[:1], "--run", number],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    return number


def run(number: str, environment: Any) -> None:
    """Run the elements of a job, as many at a time as there are slots; ``environment(task)`` are its variables."""
    os.umask(0o022)
    running: dict[str, subprocess.Popen[bytes]] = {}
    while True:
        with store() as jobs:
            job = jobs[number]
            for task, process in list(running.items()):
                if process.poll() is not None:
                    code = process.returncode
                    element = job["elements"][task]
                    element.update(state="F", exit=256 - code if code < 0 and element.get("killed") else code % 256)
                    if code < 0 and not element.get("killed"):
                        element["exit"] = 128 - code
                    del running[task]
            waiting = [t for t, e in job["elements"].items() if e["state"] == "Q"]
            slots = min(int(setting("slots", "4")), job.get("most") or 1000)
            while waiting and len(running) < slots and not switch("hold"):
                task = waiting.pop(0)
                running[task] = subprocess.Popen(
                    job["command"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    cwd=str(FAKE), start_new_session=True, env={**os.environ, **environment(task, job)},
                )  # fmt: skip
                job["elements"][task].update(state="R", pid=running[task].pid)
        if not waiting and not running:
            return
        time.sleep(0.05)


def kill(job: Job, tasks: list[str]) -> None:
    """End elements, wherever they are."""
    for task in tasks:
        element = job["elements"][task]
        if element["state"] == "R":
            element["killed"] = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(element["pid"], signal.SIGTERM)
        elif element["state"] == "Q":
            element.update(state="F", exit=None)


def install(folder: Path, module: str, *programs: str) -> dict[str, str]:
    """Put the programs of a fake into ``folder``/bin; the environment for hosts that use them."""
    (folder / "bin").mkdir(parents=True)
    for program in programs:
        path = folder / "bin" / program
        # hosts of this machine clean the environment of their commands
        run = f"exec {sys.executable} -S -E {Path(__file__).parent / module}"
        path.write_text(f'#!/bin/sh\nexport FAKE={shlex.quote(str(folder))} AS={program}\n{run} "$@"\n')
        path.chmod(0o755)
    return {"FAKE": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
