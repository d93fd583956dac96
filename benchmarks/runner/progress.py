# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the progress display of ``airflow hybrid run`` takes: the same scatter on a terminal, with it and without it.

    python -m benchmarks.runner.progress --jobs 10000

The runs take turns; `cpu`: processor time of the command and of all that it waited for. `drawn`: what it wrote to its
terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.peers import RunFailed, environment, wait

OPTIONS = {"shown": (), "--no-progress": ("--no-progress",)}
_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Taken:
    wall_s: float
    cpu_s: float
    drawn: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runner.progress", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    case = Case("scatter", args.jobs)
    taken: dict[str, list[Taken]] = {name: [] for name in OPTIONS}
    with tempfile.TemporaryDirectory(prefix="airflow-hybrid-bench-") as scratch:
        _run(Case("scatter", 10), Path(scratch), ())  # imports and the compile cache
        for _ in range(args.repeat):
            for name, options in OPTIONS.items():
                run = _run(case, Path(scratch), options)
                taken[name].append(run)
                figures = f"{run.wall_s:7.1f} s, cpu {run.cpu_s:6.1f} s, drawn {run.drawn / 1000:.0f} kB"
                print(f"{name:13} {figures}, load {machine.load()}", flush=True)
    for figure in ("wall_s", "cpu_s"):
        shown, hidden = (statistics.median(getattr(run, figure) for run in taken[name]) for name in OPTIONS)
        print(f"{figure:13} shown / --no-progress: {shown / hidden:.3f}")
    return 0


def _run(case: Case, scratch: Path, options: tuple[str, ...]) -> Taken:
    """:raises RunFailed, WrongOutputs: as the peers."""
    salt = secrets.token_hex(3)
    airflow = str(Path(sys.executable).parent / "airflow")
    kept = [f"AIRFLOW_HOME={scratch / 'airflow'}", f"XDG_CACHE_HOME={scratch / 'cache'}", "TERM=xterm"]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        work = Path(folder)
        for name in ("out", "home", "tmp"):
            (work / name).mkdir()
        argv = ["env", *kept, airflow, "hybrid", "run", *options, "--outdir", f"{folder}/out"]
        argv += [str(case.path), str(case.write_inputs(work, salt))]
        ours, theirs = pty.openpty()
        written = bytearray()
        reader = threading.Thread(target=_read, args=(ours, written))
        with (work / "stdout").open("wb") as out:
            started = time.monotonic()
            process = subprocess.Popen(
                argv, cwd=work, env=environment(work), stdin=subprocess.DEVNULL, stdout=out, stderr=theirs,
                start_new_session=True,
            )  # fmt: skip
            os.close(theirs)
            reader.start()
            wall_s, code, cpu_s = wait(process, started, _TIMEOUT_S)
        reader.join()
        os.close(ours)
        if code:
            raise RunFailed(f"exit code {code}; end of its log:\n{written[-2000:].decode(errors='replace')}")
        case.check(json.loads((work / "stdout").read_text()), salt, work / "out")
    return Taken(wall_s, cpu_s, len(written))


def _read(terminal: int, written: bytearray) -> None:
    """What a terminal does, as fast as it comes."""
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # EIO: everybody has closed the other end
            return
        if not data:
            return
        written += data


if __name__ == "__main__":
    sys.exit(main())
