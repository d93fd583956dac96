# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the run page asks for, from a real database of Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from airflow_hybrid.model.records import JobRecord, JobsReport
from tests.unit.web.records import HOSTILE, MOMENT, record
from tests.unit.web.served import Answer, Served, served

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {words: {type: "string[]", default: [a, bb, ccc]}}
outputs: {said: {type: "File[]", outputSource: say/said}}
steps:
  say:
    scatter: word
    in: {word: words}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$0"; test "$0" != bad']
      inputs: {word: {type: string, inputBinding: {}}}
      stdout: said
      outputs: {said: stdout}
"""
DAG = "made"
MANY = 10_000


@dataclass(frozen=True)
class Run:
    web: Served
    run_id: str

    def ask(self, route: str, tag: str | None = None, **query: Any) -> Answer:
        run = quote(self.run_id, safe="")
        headers = {"If-None-Match": tag} if tag else {}
        path = f"/airflow_hybrid/dags/{DAG}/dagRuns/{run}/{route}?{urlencode(query)}"
        return self.web.get(path, headers=headers)

    def get(self, route: str, **query: Any) -> dict[str, Any]:
        answer = self.ask(route, **query)
        assert answer.status == 200, answer.body
        value: dict[str, Any] = json.loads(answer.body)
        return value

    def report(self, records: list[JobRecord]) -> None:
        value = JobsReport(tuple(records), at=MOMENT + 9000).to_json()
        self.web.ask("set_xcom", dag_id=DAG, run_id=self.run_id, key="say[0].jobs", value=value)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(DOCUMENT)
    (home / "dags/made.py").write_text(
        "from airflow_hybrid import HybridDag\n"
        f"made = HybridDag('made.cwl', dag_id={DAG!r}, outdir={str(home / 'out')!r})\n"
    )
    with served(home) as application:
        yield application


def new_run(web: Served) -> Run:
    run_id, state = web.ask("run", file=str(web.home / "dags/made.py"), dag_id=DAG)
    assert state == "success"
    return Run(web, run_id)


@pytest.fixture(scope="module")
def run(web: Served) -> Run:
    return new_run(web)


@pytest.fixture(scope="module")
def large(web: Served) -> Run:
    run = new_run(web)
    run.report([record(number) for number in range(MANY)])
    return run


def test_the_overview_has_steps_and_sites(run: Run) -> None:
    overview = run.get("overview")
    (step,) = overview["steps"]
    assert (step["path"], step["state"], step["total"], step["succeeded"]) == ("/say", "success", 3, 3)
    assert [(site["name"], site["jobs"]) for site in overview["sites"]] == [("local", 3)]


def test_what_was_lost_and_made_again_is_in_the_overview(web: Served, run: Run) -> None:
    replay = {"task": "say[1]", "jobs": 2, "files": 3, "changed": 0, "first": "hybrid://hpc/login/x"}
    web.ask("set_xcom", dag_id=DAG, run_id=run.run_id, key="say[0].made_again", value=[replay])
    web.ask("set_xcom", dag_id=DAG, run_id=run.run_id, key="say[2].made_again", value=[{**replay, "jobs": "<b>"}])
    overview = run.get("overview")
    assert overview["replays"] == [{"task": "say[1]", "reason": "2 jobs ran again, because say[0] missed 3 files"}]
    assert overview["problems"] == ["what task say[2] has made again is not shown: '<b>' is no number of jobs or files"]


def test_jobs_are_filtered_and_sorted_and_cut_into_pages(large: Run) -> None:
    page = large.get("jobs", shown="failed", sort="seconds", order="down", limit=5)
    # the reports of the other two tasks of the step are still there
    assert (page["total"], page["matched"], len(page["jobs"])) == (MANY + 2, 100, 5)
    seconds = [job["seconds"] for job in page["jobs"]]
    assert seconds == sorted(seconds, reverse=True) and page["jobs"][0]["reason"] == HOSTILE
    second = large.get("jobs", shown="failed", sort="seconds", order="down", limit=5, offset=5)
    assert not {job["key"] for job in page["jobs"]} & {job["key"] for job in second["jobs"]}
    (found,) = large.get("jobs", text="71_4242")["jobs"]
    assert (found["index"], found["directory"], found["site"]) == ("[4242]", "/work/4242", "local")
    assert large.get("jobs", task_id="say", map_index=1)["total"] == 1
    assert large.get("jobs", site="elsewhere")["matched"] == 0


def test_jobs_whose_value_is_not_known_are_last_in_both_orders(large: Run) -> None:
    for order in ("up", "down"):
        jobs = large.get("jobs", sort="cpu_s", order=order, limit=500, offset=MANY + 2 - 201)["jobs"]
        assert jobs[0]["cpu_s"] is not None and {job["cpu_s"] for job in jobs[1:]} == {None}


def test_the_page_of_the_table_that_has_a_job_is_found(large: Run) -> None:
    (wanted,) = large.get("jobs", text="71_4242")["jobs"]
    page = large.get("jobs", key=wanted["key"], limit=20)
    assert page["offset"] % 20 == 0 and wanted["key"] in {job["key"] for job in page["jobs"]}
    assert large.get("jobs", key="0" * 16)["offset"] == 0


@pytest.mark.parametrize(
    "query", [{"sort": "key; DROP"}, {"limit": 100000}, {"offset": -1}, {"shown": "none"}, {"other": 1}, {"order": "x"}]
)
def test_a_query_that_makes_no_sense_is_refused(run: Run, query: dict[str, Any]) -> None:
    assert run.ask("jobs", **query).status == 422


def test_times_are_sent_as_columns_or_where_there_are_many_as_counts(run: Run, large: Run) -> None:
    (few,) = run.get("timeline")["steps"]
    assert few["count"] == 3 and few["columns"]["outcome"] == ["succeeded"] * 3
    assert all(ended >= began for began, ended in zip(few["columns"]["began"], few["columns"]["ended"], strict=True))
    (many,) = large.get("timeline")["steps"]
    assert many["count"] == MANY + 2 and sum(many["bins"]["failed"]) == 100
    assert max(many["bins"]["waiting"]) > 9000
    (zoomed,) = large.get("timeline", step="/say")["steps"]
    assert len(zoomed["columns"]["ended"]) == MANY + 2


def test_an_answer_that_the_page_has_is_not_sent_again_until_something_changes(web: Served) -> None:
    run = new_run(web)
    for route in ("overview", "jobs", "timeline"):
        first = run.ask(route)
        again = run.ask(route, tag=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
    run.report([record(1)])
    assert run.ask("overview", tag=first.headers["etag"]).status == 200


def test_ten_thousand_jobs_are_answered_at_once(large: Run) -> None:
    for route in ("overview", "jobs", "timeline"):
        large.report([record(number) for number in range(MANY)])  # what was kept is of no use any more
        began = large.web.ask("cpu_s")
        answer = large.ask(route)
        seconds = large.web.ask("cpu_s") - began
        assert answer.status == 200 and len(answer.body) < 100_000
        # processor time: about 0.3 s, on a busy machine up to 1.2 s; what grows with the square takes minutes
        assert seconds < 10, route


def test_a_run_that_is_none_and_a_dag_of_others_are_told(web: Served, run: Run) -> None:
    missing = Run(web, "none").ask("overview")
    assert (missing.status, missing.detail) == (
        404,
        f"DAG {DAG} has no run none\n  -> airflow dags list-runs {DAG}",
    )
    for route in ("jobs", "timeline"):
        assert Run(web, "none").ask(route).status == 404


def test_a_run_that_went_well_has_no_reasons(run: Run) -> None:
    assert run.get("why") == {"answers": [], "more": 0}


def test_a_failed_run_says_which_jobs_failed_and_why(web: Served) -> None:
    run_id, state = web.ask("run", file=str(web.home / "dags/made.py"), dag_id=DAG, conf={"words": ["a", "bad"]})
    assert state == "failed"
    failed, *others = Run(web, run_id).get("why")["answers"]
    assert {name: failed[name] for name in ("step", "state", "sentence", "jobs", "first")} == {
        "step": "/say",
        "state": "failed",
        "sentence": "its program reports a failure: exit code 1",
        "jobs": 1,
        "first": "[1]",
    }
    assert {other["state"] for other in others} == {"not run"}


def test_a_heartbeat_of_a_task_is_no_news(run: Run) -> None:
    first = run.ask("overview")
    run.web.ask("heartbeat", dag_id=DAG, run_id=run.run_id)
    assert run.ask("overview", tag=first.headers["etag"]).status == 304
