# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The peers, and ``airflow hybrid run``: a whole command each, from its start to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from tests.testbed.fixture import Site

SITE_FOLDER = "benchmark"
"""in the home of the site's user; removed after each run"""


class RunFailed(Exception):  # noqa: N818 - says what happened
    """A run that did not end well; the message ends with the end of its log."""


@dataclass(frozen=True)
class Measured:
    """One run that ended well and delivered what it should.

    :ivar wall_s: see each runner.
    :ivar cpu_s: of all processes on this machine; None where it was not counted.
    """

    wall_s: float
    cpu_s: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Cwltool:
    """``cwltool --parallel``."""

    program: Path
    scratch: Path
    name: str = "cwltool --parallel"
    sites: tuple[str, ...] = ("local",)

    def run(self, case: Case, salt: str, timeout_s: float) -> Measured:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            work = Path(folder)
            argv = [str(self.program), "--parallel", "--outdir", f"{folder}/out"]
            argv += [str(case.path), str(case.write_inputs(work, salt))]
            return _measure(case, salt, argv, work, timeout_s)


@dataclass(frozen=True)
class HybridRun:
    """``airflow hybrid run``, which makes an Airflow of its own; its ``airflow`` is the one of this Python.

    Its Airflow home and its cache stay the same in all runs, as a user's do; the note of a run says what
    ``airflow version`` takes, in which hardly more than Airflow's import happens.
    """

    scratch: Path
    name: str = "airflow hybrid run"
    sites: tuple[str, ...] = ("local",)

    def run(self, case: Case, salt: str, timeout_s: float) -> Measured:
        home = self.scratch / "of-run"
        home.mkdir(exist_ok=True)
        kept = ["env", f"AIRFLOW_HOME={home / 'airflow'}", f"XDG_CACHE_HOME={home / 'cache'}"]
        airflow = str(Path(sys.executable).parent / "airflow")
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            work = Path(folder)
            argv = [*kept, airflow, "hybrid", "run", "--outdir", f"{folder}/out"]
            argv += [str(case.path), str(case.write_inputs(work, salt))]
            run = _measure(case, salt, argv, work, timeout_s)
            floor = subprocess.Popen(
                [*kept, airflow, "version"], cwd=work, env=environment(work), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            _, _, import_s = wait(floor, time.monotonic(), timeout_s)
        return replace(run, note=f"airflow version: {import_s:.2f} CPU-s")


@dataclass(frozen=True)
class StreamFlow:
    """``streamflow run``, with a fresh database; on Slurm through a wrapped ``ssh`` deployment.

    :ivar site: the login node, for cases on Slurm.
    """

    program: Path
    scratch: Path
    site: Site | None = None
    name: str = "StreamFlow"
    sites: tuple[str, ...] = ("local", "slurm")

    def run(self, case: Case, salt: str, timeout_s: float) -> Measured:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            work = Path(folder)
            case.write_inputs(work, salt)
            # JSON is YAML
            (work / "streamflow.yml").write_text(json.dumps(self._file(case, work, salt), indent=1))
            argv = [str(self.program), "run", "--outdir", f"{folder}/out", f"{folder}/streamflow.yml"]
            return _measure(case, salt, argv, work, timeout_s)

    def _file(self, case: Case, work: Path, salt: str) -> dict[str, Any]:
        config = {"file": str(case.path), "settings": str(work / "inputs.json")}
        workflow: dict[str, Any] = {"type": "cwl", "config": config}
        file: dict[str, Any] = {
            "version": "v1.0",
            "workflows": {"benchmark": workflow},
            "database": {"type": "default", "config": {"connection": str(work / "streamflow.db")}},
        }
        if case.site == "slurm":
            assert self.site is not None
            workdir = f"{self.site.home}/{SITE_FOLDER}/{salt}"
            workflow["bindings"] = [{"step": "/", "target": {"deployment": "slurm", "workdir": workdir}}]
            file["deployments"] = {
                "login": {
                    "type": "ssh",
                    "config": {
                        "nodes": [self.site.host],
                        "username": self.site.user,
                        "sshKey": str(self.site.key),
                        "checkHostKey": False,
                    },
                },
                "slurm": {"type": "slurm", "config": {"maxConcurrentJobs": 1000}, "wraps": "login", "workdir": workdir},
            }
        return file


def _measure(case: Case, salt: str, argv: Sequence[str], work: Path, timeout_s: float) -> Measured:
    """Run a command that prints a CWL output object.

    :raises RunFailed: on a non-zero exit code, or when it takes longer than ``timeout_s``.
    :raises WrongOutputs: when it did not do what it should.
    """
    for name in ("out", "home", "tmp"):
        (work / name).mkdir()
    with (work / "stdout").open("wb") as out, (work / "stderr").open("wb") as err:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=work, env=environment(work), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip
        wall_s, code, usage = wait(process, started, timeout_s)
    log = (work / "stderr").read_text(errors="replace")[-2000:]
    if code:
        raise RunFailed(f"exit code {code}; end of its log:\n{log}")
    try:
        outputs = json.loads((work / "stdout").read_text())
    except ValueError:
        raise RunFailed(f"its stdout is not JSON; end of its log:\n{log}") from None
    case.check(outputs, salt, work / "out")
    return Measured(wall_s, usage)


def wait(process: subprocess.Popen[bytes], started: float, timeout_s: float) -> tuple[float, int, float]:
    """-> wall time (s), exit code, CPU time (s) of the process and all that it waited for."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        elapsed = time.monotonic() - started
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return elapsed, process.returncode, usage.ru_utime + usage.ru_stime
        if elapsed > timeout_s:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise RunFailed(f"did not end within {timeout_s:g} s")
        time.sleep(0.01)


def environment(work: Path) -> Mapping[str, str]:
    """A home and a temporary folder of its own; otherwise the caller's environment without Airflow's."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "VIRTUAL_ENV", "PYTHON"))}
    return {**outer, "HOME": str(work / "home"), "TMPDIR": str(work / "tmp")}
