# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What jobs have written, in the run page: read where they ran, and bounded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import HTTPException

from airflow_hybrid.web.run.site_loop import SiteLoop
from tests.unit.web.served import Answer, Served, served

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand:
  - sh
  - -c
  - 'printf "<b>\\033[31mred\\033[0m \\342\\200\\256x\\n"; seq -f "%.0f €€€€" 100000 >&2; exit 3'
inputs: []
outputs: []
"""


@dataclass(frozen=True)
class Run:
    web: Served
    path: str

    def ask(self, route: str, **query: Any) -> Answer:
        return self.web.get(f"{self.path}/{route}?{urlencode(query)}")

    def get(self, route: str, **query: Any) -> dict[str, Any]:
        answer = self.ask(route, **query)
        assert answer.status == 200, answer.body
        value: dict[str, Any] = json.loads(answer.body)
        return value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(TOOL, encoding="utf-8")
    (home / "dags/made.py").write_text(
        "from airflow_hybrid import HybridDag\n"
        f"made = HybridDag('made.cwl', dag_id='made', outdir={str(home / 'out')!r}, bindings=[\n"
        "    dict(step='/', target=dict(deployment='near'))],\n"
        f"    deployments=dict(near=dict(type='local', workdir={str(home / 'near')!r})))\n"
    )
    with served(home) as web:
        run_id, _ = web.ask("run", file=str(home / "dags/made.py"), dag_id="made")
        yield Run(web, f"/airflow_hybrid/dags/made/dagRuns/{quote(run_id, safe='')}")


@pytest.fixture(scope="module")
def job(run: Run) -> dict[str, Any]:
    (job,) = run.get("jobs")["jobs"]
    return dict(job)


def test_what_a_job_has_written_is_text_without_signs_that_do_something(run: Run, job: dict[str, Any]) -> None:
    log = run.get(f"jobs/{job['key']}/stdout")
    assert log["text"] == "<b>red \\u202ex\n"
    assert (log["start"], log["end"], log["is_over"]) == (0, log["size"], True)


def test_the_end_is_shown_first_and_the_rest_by_pieces(run: Run, job: dict[str, Any]) -> None:
    end = run.get(f"jobs/{job['key']}/stderr")
    assert end["size"] > 500_000 and (1 << 18) - 3 <= end["end"] - end["start"] <= 1 << 18
    assert end["text"].endswith("\n100000 €€€€\n") and "\\x" not in end["text"]
    text, position = "", 0
    while position < end["size"]:
        piece = run.get(f"jobs/{job['key']}/stderr", **{"from": position})
        text, position = text + piece["text"], piece["end"]
    assert text == "".join(f"{number + 1} €€€€\n" for number in range(100_000))  # no letter is cut between two pieces
    assert run.get(f"jobs/{job['key']}/stderr", **{"from": end["size"]})["text"] == ""


def test_a_job_is_found_by_its_name_too(run: Run, job: dict[str, Any]) -> None:
    assert run.get("logs/stdout", job=job["step"])["is_over"] is True
    missing = run.ask("logs/stdout", job="/none")
    assert missing.status == 404 and missing.detail.startswith("the run has no job /none that has begun")


def test_what_cannot_be_meant_is_told(run: Run, job: dict[str, Any]) -> None:
    missing = run.ask(f"jobs/{'0' * 16}/stdout")
    assert (missing.status, missing.detail) == (404, "the run has no such job; load the page again")
    for route in (f"jobs/{job['key']}/passwd", "jobs/..%2f..%2fetc/stdout"):
        assert run.ask(route).status in (404, 422)
    assert run.ask(f"jobs/{job['key']}/stdout", **{"from": -(10**9)}).status == 422


def test_a_site_that_does_not_answer_holds_nobody_up() -> None:
    loop = SiteLoop(idle_s=0.2)
    began = time.monotonic()
    with pytest.raises(HTTPException) as told:
        loop.run(lambda: asyncio.sleep(30), 0.2)
    assert (told.value.status_code, told.value.detail) == (504, "the site has not answered within 0 s; try again")
    assert time.monotonic() - began < 25


def test_connections_are_kept_for_the_next_question_and_closed_when_nobody_asks() -> None:
    loop = SiteLoop(idle_s=0.3)

    async def number() -> int:
        return id(asyncio.get_running_loop())

    assert loop.run(number, 5) == loop.run(number, 5)
    deadline = time.monotonic() + 10
    while loop.is_open and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not loop.is_open
    assert isinstance(loop.run(number, 5), int)


def test_too_many_questions_at_once_are_refused() -> None:
    loop = SiteLoop(most_at_once=0)
    with pytest.raises(HTTPException) as told:
        loop.run(lambda: asyncio.sleep(0), 1)
    assert (told.value.status_code, told.value.detail) == (429, "others read at sites now; try again soon")
