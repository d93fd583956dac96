# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What keeps an event loop busy that follows many remote tasks, as a triggerer's does, and what following costs.

    python -m benchmarks.loop_blocks --fragments 200 --jobs 5 --busy 8
    python -m benchmarks.loop_blocks --site hpc --seconds 60

One fragment is what a trigger runs for one deferred task. A watchdog like Airflow's counts waits of 0.1 s that took
more than 0.2 s: then Airflow's triggerer logs that its async thread was blocked. The stacks of the loop's thread in
such moments are printed. On a busy machine a thread also waits for a processor: that is told apart.

Sites: ``local`` is this machine; others are sites of the test bed (tests/testbed) that are up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.fixture import Testbed

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {name: "string[]"}
outputs: {texts: {type: "File[]", outputSource: echo/text}}
steps:
  echo:
    scatter: name
    in: {name: name}
    out: [text]
    run:
      class: CommandLineTool
      requirements: {ResourceRequirement: {coresMin: 1, ramMin: 16}}
      inputs: {name: {type: string, inputBinding: {position: 1}}}
      outputs: {text: stdout}
      baseCommand: [sh, -c, 'sleep SECONDS; echo "$0"']
      stdout: text.txt
"""
BUSY = "while :; do :; done"
LATE_S = 0.2
"""Airflow's default of ``[triggerer] blocked_main_thread_warning_threshold``"""
PAUSE_S = 0.1
STACKS_SHOWN = 12
LATE_SHOWN = 6


class Quiet:
    """A task's log that nobody reads."""

    def info(self, event: Any, /, *args: Any) -> None:
        """Nothing is written."""

    warning = info


@dataclass(frozen=True)
class Late:
    """A wait that took too long.

    :ivar wall_s: how long it took.
    :ivar cpu_s: of that, how long the loop's thread had the processor.
    :ivar queued_s: how long it could have run, but other processes had the processor.
    """

    wall_s: float
    cpu_s: float
    queued_s: float

    @property
    def blocked_s(self) -> float:
        """How long the thread worked, or waited for something else than the processor, beyond the pause."""
        return self.wall_s - self.queued_s - PAUSE_S

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} ({self.cpu_s:.2f} worked, {self.queued_s:.2f} without a processor)"


@dataclass(frozen=True)
class _Moment:
    """A thread's times so far, in seconds."""

    wall_s: float
    cpu_s: float
    queued_s: float

    @classmethod
    def now(cls) -> _Moment:
        # Linux, Documentation/scheduler/sched-stats.rst: ns on the processor, ns on a run queue, time slices
        queued_ns = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]
        return cls(time.monotonic(), time.thread_time(), int(queued_ns) / 1e9)

    def until(self, later: _Moment) -> Late:
        return Late(later.wall_s - self.wall_s, later.cpu_s - self.cpu_s, later.queued_s - self.queued_s)


class Sampler(threading.Thread):
    """Counts where the loop's thread is while it is late."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.loop_thread = threading.get_ident()
        self.beat = time.monotonic()
        self.stacks: Counter[str] = Counter()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            if time.monotonic() - self.beat > LATE_S / 2:
                self.stacks[self._stack()] += 1

    def end(self) -> None:
        self._ended.set()

    def _stack(self) -> str:
        lines: list[str] = []
        frame = sys._current_frames().get(self.loop_thread)
        while frame is not None and len(lines) < 8:
            file = Path(frame.f_code.co_filename)
            if "airflow_hybrid" in file.parts or len(lines) < 3:
                lines.append(f"{file.parent.name}/{file.name}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        return " < ".join(lines)


async def _watch(late: list[Late]) -> None:
    """As Airflow's ``TriggerRunner.block_watchdog``."""
    while True:
        before = _Moment.now()
        await asyncio.sleep(PAUSE_S)
        took = before.until(_Moment.now())
        if took.wall_s > LATE_S:
            late.append(took)


async def _beat(sampler: Sampler) -> None:
    while True:
        sampler.beat = time.monotonic()
        await asyncio.sleep(0.01)


def _deployments(site: str, folder: Path) -> dict[str, Any]:
    if site == "local":
        return {"site": {"type": "local", "config": {}, "workdir": str(folder / "site")}}
    testbed = Testbed(Path(os.environ["TESTBED_DIR"]))
    there = testbed.sites[site]
    login = {
        "type": "ssh",
        "config": {
            "nodes": [f"{there.host}:{there.port}"],
            "username": there.user,
            "sshKey": str(there.key),
            "known_hosts": str(testbed.known_hosts),
        },
        "workdir": f"{there.home}/loop-{os.getpid()}",
    }
    if there.scheduler is None:
        return {"site": login}
    return {"login": login, "site": {"type": there.scheduler, "config": {}, "wraps": "login"}}


def _specs(args: argparse.Namespace, folder: Path) -> list[Any]:
    """One specification for each deferred task, as its worker hands it to the trigger."""
    from airflow_hybrid.config import parse_bindings, parse_deployments
    from airflow_hybrid.cwl.documents.cache import read_document
    from airflow_hybrid.cwl.documents.compile import compile_document
    from airflow_hybrid.cwl.given.run_inputs import validate_inputs
    from airflow_hybrid.engine import FragmentSpec, TaskIdentity

    (folder / "main.cwl").write_text(DOCUMENT.replace("SECONDS", str(args.seconds)))
    graph = compile_document(str(folder / "main.cwl"))
    step = graph.steps[0]
    names = [f"n{number}" for number in range(args.jobs)]
    specs = []
    for number in range(args.fragments):
        spec = FragmentSpec(
            step_path=step.path,
            leaves=(step.path,),
            document=read_document(step.document),
            instances=(validate_inputs(graph, {"name": names}, str(folder)),),
            bindings=tuple(parse_bindings({"/echo": {"target": "site"}})),
            deployments=parse_deployments(_deployments(args.site, folder)),
            identity=TaskIdentity("dag", "run", f"t{number}", try_number=1, origin=f"o{number}"),
        )
        specs.append(spec.to_json())
    return specs


async def _measure(args: argparse.Namespace, specs: list[Any]) -> None:
    from airflow_hybrid.engine import FragmentExecution, FragmentSpec
    from airflow_hybrid.sites.closing import close_all

    async def run(spec: Any) -> None:
        await FragmentExecution(FragmentSpec.from_json(spec), Quiet()).run()

    before_mib = _memory_mib()
    sampler, late = Sampler(), list[Late]()
    sampler.start()
    watchers = [asyncio.ensure_future(_watch(late)), asyncio.ensure_future(_beat(sampler))]
    began, began_cpu_s, began_children_s = time.monotonic(), time.process_time(), _children_s()
    following = asyncio.ensure_future(_tell_following(args))
    await asyncio.gather(*(run(spec) for spec in specs))
    took_s, cpu_s = time.monotonic() - began, time.process_time() - began_cpu_s
    for watcher in (*watchers, following):
        watcher.cancel()
    sampler.end()
    await close_all()
    print(
        f"{args.fragments} fragments of {args.jobs} jobs at {args.site}: {took_s:.1f} s, {cpu_s:.1f} s of CPU and "
        f"{_children_s() - began_children_s:.1f} s of its commands, {_memory_mib() - before_mib:.0f} MiB more memory, "
        f"load {os.getloadavg()[0]:.0f}"
    )
    blocked = [wait for wait in late if wait.blocked_s > LATE_S - PAUSE_S]
    print(f"waits over {LATE_S} s: {len(late)}; {len(blocked)} of them also if the thread had always had a processor")
    for wait in sorted(late, key=lambda wait: -wait.blocked_s)[:LATE_SHOWN]:
        print(f"      {wait}")
    for stack, count in sampler.stacks.most_common(STACKS_SHOWN):
        print(f"{count:5} {stack}")


async def _tell_following(args: argparse.Namespace) -> None:
    """While long jobs run, nothing is done but following them: its costs, over the second third of their time."""
    if args.seconds < 30:
        return
    await asyncio.sleep(args.seconds / 3)
    began, began_cpu_s, began_children_s = time.monotonic(), time.process_time(), _children_s()
    await asyncio.sleep(args.seconds / 3)
    per_s = 1 / (time.monotonic() - began) * 100 / args.fragments
    own, commands = time.process_time() - began_cpu_s, _children_s() - began_children_s
    print(
        f"while jobs run, per 100 fragments: {own * per_s * 1000:.1f} ms of CPU per s, and "
        f"{commands * per_s * 1000:.1f} ms of its commands; {_memory_mib():.0f} MiB in all",
        flush=True,
    )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """Other work of the machine."""
    with ExitStack() as stack:
        for _ in range(processes):
            process = subprocess.Popen(["/bin/sh", "-c", BUSY], start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loop_blocks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--site", default="local", help="local, or a site of the test bed (TESTBED_DIR)")
    parser.add_argument("--fragments", type=int, default=200, help="how many deferred tasks (default 200)")
    parser.add_argument("--jobs", type=int, default=5, help="jobs of each (default 5)")
    parser.add_argument("--seconds", type=float, default=0, help="how long a job sleeps (default 0)")
    parser.add_argument("--busy", type=int, default=0, help="processes that keep the machine busy (default 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR"] = name + "/cache"
        os.environ["AIRFLOW_HOME"] = name
        specs = _specs(args, Path(name))
        with _busy(args.busy):
            asyncio.run(_measure(args, specs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
