# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the run page takes with thousands of jobs: the server's answers, and the page in Chromium.

    python -m benchmarks.pages.run_page --jobs 10000

A small run in an Airflow of its own is given the records of as many jobs. `first`: the overview, as the first answer
after the API server's start, which has imported nothing of this package's pages. The other answers are taken after the
one large report has changed, and `unchanged` when nothing has; `cpu`: processor time of the API server, which says more
on a busy machine. The page is opened by a browser that has none of its modules, and again by the same one, each time
after a change. Frames are those of the page while it is scrolled and while its timeline is zoomed and moved.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
from playwright.sync_api import Page, sync_playwright

from airflow_hybrid.model.records import JobsReport
from tests.system.airflow_stack import USER, AirflowStack
from tests.unit.web.records import record

DAG = "large"
ROUTES = ("overview", "jobs", "timeline", "why")
DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {words: {type: "string[]", default: [a, b]}}
outputs: {said: {type: "File[]", outputSource: say/said}}
steps:
  say:
    scatter: word
    in: {word: words}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: echo
      inputs: {word: {type: string, inputBinding: {}}}
      stdout: said
      outputs: {said: stdout}
"""
WATCH_FRAMES = """() => {
    window.frames_ms = [];
    let before = performance.now();
    const next = (now) => { window.frames_ms.push(now - before); before = now; requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages.run_page", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        parser.error("it needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="airflow-hybrid-bench-") as scratch:
        dags = Path(scratch) / "dags"
        dags.mkdir()
        (dags / "large.cwl").write_text(DOCUMENT)
        code = f"from airflow_hybrid import HybridDag\n\nlarge = HybridDag('large.cwl', dag_id={DAG!r})\n"
        (dags / "large.py").write_text(code)
        with AirflowStack(Path(scratch) / "airflow", dags) as airflow:
            run = _finished_run(airflow)
            _measure_answers(airflow, run, args.jobs, args.repeat)
            _measure_page(airflow, run, program, args.jobs)
    return 0


def _finished_run(airflow: AirflowStack) -> str:
    airflow.api.unpause(DAG)
    run = airflow.api.trigger(DAG)
    airflow.api.succeed(DAG, run, 600)
    return run


def _report(airflow: AirflowStack, run: str, jobs: int) -> None:
    """Let the first task have reported as many jobs: what was kept of the run is of no use any more."""
    value = JobsReport(tuple(record(number) for number in range(jobs)), at=time.time()).to_json()
    path = f"/dags/{DAG}/dagRuns/{quote(run, safe='')}/taskInstances/say/xcomEntries/jobs"
    airflow.api.call("PATCH", path, json={"value": value, "map_index": 0})


def _address(run: str, route: str) -> str:
    return f"/airflow_hybrid/dags/{DAG}/dagRuns/{quote(run, safe='')}/{route}"


def _measure_answers(airflow: AirflowStack, run: str, jobs: int, repeat: int) -> None:
    server = psutil.Process(airflow.processes.pid("api-server"))
    _report(airflow, run, jobs)
    _print("first", [_taken(airflow, server, run, "overview")])
    _print("unchanged", [_taken(airflow, server, run, "overview") for _ in range(repeat)])
    for route in ROUTES:
        answers = []
        for _ in range(repeat):
            _report(airflow, run, jobs)
            answers.append(_taken(airflow, server, run, route))
        _print(route, answers)


@dataclass(frozen=True)
class _Answer:
    wall_s: float
    cpu_s: float
    size: int


def _taken(airflow: AirflowStack, server: psutil.Process, run: str, route: str) -> _Answer:
    before, began = _cpu_s(server), time.monotonic()
    answer = airflow.api.page(_address(run, route))
    wall_s = time.monotonic() - began
    answer.raise_for_status()
    return _Answer(wall_s, _cpu_s(server) - before, len(answer.content))


def _print(name: str, answers: list[_Answer]) -> None:
    wall_ms = 1000 * statistics.median(answer.wall_s for answer in answers)
    cpu_ms = 1000 * statistics.median(answer.cpu_s for answer in answers)
    size = max(answer.size for answer in answers) / 1000
    print(f"{name:9} {wall_ms:6.0f} ms, cpu {cpu_ms:6.0f} ms, {size:.0f} kB, load {os.getloadavg()[0]:.1f}", flush=True)


def _cpu_s(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return float(sum(sum(one.cpu_times()[:2]) for one in family))


def _measure_page(airflow: AirflowStack, run: str, program: str, jobs: int) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        page.goto(f"{airflow.url}/")
        page.fill("input[name=username]", USER)
        page.fill("input[name=password]", airflow.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        for name in ("page", "again"):
            _report(airflow, run, jobs)
            page.goto(f"{airflow.url}{_address(run, 'page')}")
            page.wait_for_selector("#jobs tbody tr")
            usable_ms = page.evaluate("performance.now()")
            print(f"{name:9} {usable_ms:6.0f} ms until its jobs are shown, load {os.getloadavg()[0]:.1f}", flush=True)
        page.evaluate(WATCH_FRAMES)
        for name, act in ACTS.items():
            page.evaluate("window.frames_ms = []")
            act(page)
            frames = page.evaluate("window.frames_ms")
            late = sum(frame > 100 for frame in frames)
            longest = f"longest frame {max(frames):5.0f} ms, {late} of {len(frames)} over 100 ms"
            print(f"{name:9} {longest}, load {os.getloadavg()[0]:.1f}", flush=True)
        browser.close()


def _rest(page: Page) -> None:
    """What the machine does to a page that nobody touches."""
    page.wait_for_timeout(2000)


def _scroll(page: Page) -> None:
    page.mouse.move(640, 450)
    for direction in (1, -1):
        for _ in range(20):
            page.mouse.wheel(0, 150 * direction)
            page.wait_for_timeout(30)


def _zoom(page: Page) -> None:
    canvas = page.locator("#timeline canvas")
    canvas.focus()
    for key in ("+", "+", "+", "+", "ArrowRight", "ArrowRight", "ArrowLeft", "-", "-", "-", "-", "0"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)


def _open(page: Page) -> None:
    """All jobs of the step, a line each, zoomed and moved."""
    page.locator("#timeline .label button").first.click()
    page.wait_for_timeout(500)
    _zoom(page)


ACTS: dict[str, Callable[[Page], None]] = {"at rest": _rest, "scrolled": _scroll, "zoomed": _zoom, "opened": _open}


if __name__ == "__main__":
    sys.exit(main())
