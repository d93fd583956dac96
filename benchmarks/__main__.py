# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Run airflow_hybrid, StreamFlow and cwltool on the same CWL documents and print ratios. See docs/performance.md."""

from __future__ import annotations

import argparse
import fnmatch
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import machine, ours, parse_time, usage, venvs
from benchmarks.cases import CASES, COST_CASES, Case, WrongOutputs
from benchmarks.peers import SITE_FOLDER, Cwltool, HybridRun, RunFailed, StreamFlow
from benchmarks.report import Figure, Results
from tests.testbed.fixture import Testbed, missing

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "airflow_hybrid_benchmarks"
DOCUMENTS_PARSED = (10, 50)
WARM_UP_JOBS = 16


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    usage.adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    args.cache.mkdir(parents=True, exist_ok=True)
    results = Results(
        machine.describe(),
        {name: metadata.version(name) for name in ("apache-airflow", "cwltool")} | {"streamflow": venvs.STREAMFLOW},
        {"repeat": args.repeat, "only": args.only},
    )
    print("\n".join(f"{k}: {v}" for k, v in {**results.machine, **results.versions}.items()), flush=True)
    with ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="airflow-hybrid-bench-", dir=args.scratch))
        if not args.keep:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        Bench(args, scratch, results, stack).run()
    print(f"\n{results.text()}\n\nJSON: {args.json}")
    return 0 if all(target.reached is not False for target in results.targets()) else 1


def _on_signal(number: int, _: FrameType | None) -> None:
    """End as Ctrl-C would: Airflow, its database and the test bed are stopped."""
    raise SystemExit(128 + number)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="PATTERN",
        help="measure only what matches `ENGINE:CASE`, such as 'streamflow:*', '*:scatter-1000-*', 'ours-batch:*', "
        "'cost:*', 'parse'; may be repeated",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print what --only can choose from, and end")
    parser.add_argument("--repeat", type=int, default=3, help="runs per figure; the median counts (default 3)")
    parser.add_argument(
        "--budget", type=float, default=180.0, metavar="S",
        help="after two runs, do not repeat a figure further when it has taken this long (default 180)",
    )  # fmt: skip
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="S", help="of one run (default 1800)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="results, written as they come in")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the peers' venvs (default {CACHE})")
    parser.add_argument("--streamflow", type=Path, help="use this program and not a venv of our own")
    parser.add_argument("--cwltool", type=Path, help="use this program and not a venv of our own")
    parser.add_argument("--database", choices=["postgres", "sqlite"], help="default: PostgreSQL where there is one")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files (default: the system's)")
    parser.add_argument("--keep", action="store_true", help="do not remove the temporary files")
    args = parser.parse_args(argv)
    if args.list:
        print("\n".join(choices()))
        raise SystemExit(0)
    for pattern in args.only or ():
        if not fnmatch.filter(choices(), pattern):
            parser.error(f"--only {pattern} matches nothing; see --list")
    return args


ENGINES = ("cwltool", "run", "streamflow", "ours", "ours-batch", "ours-fused")


def choices() -> list[str]:
    """All that ``--only`` can name."""
    found = [f"{engine}:{case.name}" for case in CASES for engine in ENGINES if _fits(engine, case)]
    costs = [f"cost:{mode.name}-{case.jobs}" for mode, case in _costs()]
    return [*found, *costs, "parse"]


def _fits(engine: str, case: Case) -> bool:
    if case.site == "slurm" and engine in ("cwltool", "run"):
        return False
    if engine == "run":
        return case.document != "scatter"
    if engine == "ours-fused":
        return case.document == "chain"
    return case.document == "scatter" or engine != "ours-batch"


def _costs() -> list[tuple[ours.Mode, Case]]:
    every = [(mode, case) for mode in (ours.CHUNKS, ours.BATCH) for case in COST_CASES]
    return [*every, (ours.TRIGGERER, COST_CASES[-1])]


class Bench:
    """One go through everything that was asked for."""

    def __init__(self, args: argparse.Namespace, scratch: Path, results: Results, stack: ExitStack) -> None:
        self.args = args
        self.scratch = scratch
        self.results = results
        self.stack = stack

    def run(self) -> None:
        cases = [case for case in CASES if any(self._wanted(f"{engine}:{case.name}") for engine in ENGINES)]
        testbed = self._testbed() if any(case.site == "slurm" for case in cases) else None
        runners = self._runners(testbed)
        for case in cases:
            if case.site == "slurm" and testbed is None:
                continue
            fitting = [e for e in runners if _fits(e, case) and self._wanted(f"{e}:{case.name}")]
            self._case(case, {engine: runners[engine] for engine in fitting}, testbed)
        for mode, case in _costs():
            if self._wanted(f"cost:{mode.name}-{case.jobs}"):
                self._cost(mode, case)
        if self._wanted("parse"):
            self._parse()

    def _wanted(self, name: str) -> bool:
        return self.args.only is None or any(fnmatch.fnmatch(name, pattern) for pattern in self.args.only)

    def _testbed(self) -> Testbed | None:
        folder = Path(os.environ.get("TESTBED_DIR") or self.scratch / "testbed")
        if (folder / "testbed.json").exists():
            return Testbed(folder)
        if lacks := missing(("hpc",)):
            self.results.skipped.append(f"Slurm: the test bed needs {', '.join(lacks)} (see tests/testbed/README.md)")
            return None
        testbed = Testbed(folder)
        self.stack.callback(testbed.down)
        testbed.up("hpc")
        return testbed

    def _runners(self, testbed: Testbed | None) -> dict[str, Any]:
        wanted = {name.partition(":")[0] for name in choices() if self._wanted(name)}
        site = testbed.sites["hpc"] if testbed else None
        runners: dict[str, Any] = {}
        if "cwltool" in wanted:
            runners["cwltool"] = Cwltool(self.args.cwltool or venvs.cwltool(self.args.cache), self.scratch)
        if "run" in wanted:
            runners["run"] = HybridRun(self.scratch)
        if "streamflow" in wanted:
            program = self.args.streamflow or venvs.streamflow(self.args.cache)
            runners["streamflow"] = StreamFlow(program, self.scratch, site)
        if wanted & {"ours", "ours-batch", "ours-fused", "cost"}:
            print("starting Airflow ...", flush=True)
            airflow = self.stack.enter_context(ours.airflow(self.scratch, testbed, self.args.database))
            self.airflow = airflow
            self.results.settings["database"] = airflow.database
            runners["ours"] = ours.Ours(airflow, self.scratch, ours.CHUNKS)
            runners["ours-batch"] = ours.Ours(airflow, self.scratch, ours.BATCH)
            runners["ours-fused"] = ours.Ours(airflow, self.scratch, ours.FUSED)
        return runners

    def _case(self, case: Case, runners: dict[str, Any], testbed: Testbed | None) -> None:
        """Engines take turns, so that what else the machine does falls on all of them."""
        figures = {engine: Figure(case.name, runner.name, machine.load()) for engine, runner in runners.items()}
        self.results.figures.extend(figures.values())
        for runner in runners.values():
            self._warm_up(runner, case)
        for turn in range(self.args.repeat):
            for engine, runner in runners.items():
                figure = figures[engine]
                spent = sum(run.wall_s for run in figure.runs)
                if figure.error or (turn >= 2 and spent > self.args.budget):
                    continue
                self._turn(figure, runner, case)
                if case.site == "slurm" and testbed is not None:
                    testbed.run("hpc", f'scancel -u "$(id -un)"; rm -rf {SITE_FOLDER}', timeout_s=300)
                self.results.write(self.args.json)

    def _warm_up(self, runner: Any, case: Case) -> None:
        """A few jobs of the same document at the same place: imports, file caches, connections, every worker.

        :raises SystemExit: they fail; so would all that is measured then.
        """
        small = Case(case.document, min(case.jobs, WARM_UP_JOBS), case.site)
        try:
            runner.run(small, secrets.token_hex(3), self.args.timeout)
        except (RunFailed, WrongOutputs) as error:
            raise SystemExit(f"{runner.name} fails on a small run of {case.name}: {str(error)[:1500]}") from None

    def _turn(self, figure: Figure, runner: Any, case: Case) -> None:
        try:
            run = runner.run(case, secrets.token_hex(3), self.args.timeout)
        except (RunFailed, WrongOutputs) as error:
            figure.error = f"{type(error).__name__}: {error}"
            print(f"{figure.case:22} {figure.engine:24} {figure.error[:1500]}", flush=True)
            return
        figure.runs.append(run)
        cpu = "" if run.cpu_s is None else f"  {run.cpu_s:7.2f} CPU-s"
        print(f"{figure.case:22} {figure.engine:24} {run.wall_s:7.2f} s{cpu}  {run.note}", flush=True)

    def _cost(self, mode: ours.Mode, case: Case) -> None:
        runner = ours.Ours(self.airflow, self.scratch, mode)
        self._warm_up(runner, case)
        found = []
        for _ in range(self.args.repeat if case.jobs <= 1000 else min(2, self.args.repeat)):
            try:
                cost = runner.cost(case, secrets.token_hex(3), self.args.timeout)
            except (RunFailed, WrongOutputs) as error:
                self.results.skipped.append(f"cost of {mode.name} at {case.jobs}: {error}")
                print(self.results.skipped[-1][:1500], flush=True)
                return
            found.append(cost)
            figures = f"{cost.wall_s:7.2f} s  {cost.per_job_ms:6.2f} ms CPU per job"
            print(f"{case.name:22} {cost.engine:24} {figures}", flush=True)
            time.sleep(2)
        found.sort(key=lambda cost: cost.cpu_s)
        self.results.costs.append(found[(len(found) - 1) // 2])
        self.results.write(self.args.json)

    def _parse(self) -> None:
        folder = self.scratch / "parse"
        folder.mkdir()
        for document, file in parse_time.write_documents(folder, DOCUMENTS_PARSED).items():
            row = parse_time.measure(document, file, folder, max(7, self.args.repeat))
            self.results.parse.append(row)
            print(f"parse of {document}: {row.first_ms:.1f} ms over an empty file", flush=True)
        self.results.write(self.args.json)


if __name__ == "__main__":
    sys.exit(main())
