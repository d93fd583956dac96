# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The page Sites: who sees which sites, what runs have told of them, and their check at a click."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import BatchProgress, JobRecord, JobsReport
from tests.unit.web.served import STRANGER, TRIGGERER, VIEWER, Answer, Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag(
    "made.cwl",
    dag_id="made",
    outdir={outdir!r},
    bindings=[dict(step="/", target=dict(deployment="near"))],
    deployments=dict(
        near=dict(type="local", workdir={near!r}),
        far=dict(type="ssh", workdir="/scratch", config=dict(
            nodes=["127.0.0.1:1"], username="ann", checkHostKey=True, connectTimeout=5, retries=1, retryDelay=1)),
        inner=dict(type="slurm", wraps="far"),
    ),
)
"""
DOCUMENT = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo fine > text']
inputs: []
outputs: {text: {type: File, outputBinding: {glob: text}}}
"""
HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(DOCUMENT)
    (home / "dags/made.py").write_text(DAG.format(outdir=str(home / "results"), near=str(home / "near")))
    with served(home) as application:
        yield application


@pytest.fixture(scope="module")
def run_id(web: Served) -> str:
    run_id, state = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made")
    assert state == "success"
    return str(run_id)


def sites(web: Served, user: str = VIEWER) -> dict[str, Any]:
    answer = web.get("/airflow_hybrid/sites/list", user=user)
    assert answer.status == 200, answer.body
    return dict(json.loads(answer.body))


def deployment(web: Served, name: str, user: str = VIEWER) -> dict[str, Any]:
    found = [d for site in sites(web, user)["sites"] for d in site["deployments"] if d["name"] == name]
    assert len(found) == 1, found
    return dict(found[0])


def check(web: Served, name: str, user: str | None = TRIGGERER, **headers: str) -> Answer:
    return web.get(f"/airflow_hybrid/sites/made/{name}/check", user=user, method="POST", headers=headers)


def test_deployments_are_shown_by_site_with_their_jobs(web: Served, run_id: str) -> None:
    shown = sites(web)
    assert {site["name"]: [d["name"] for d in site["deployments"]] for site in shown["sites"]} == {
        "far": ["far", "inner"],
        "near": ["near"],
        "local": ["local"],
    }
    near = deployment(web, "near")
    assert (near["type"], near["where"], near["dag_ids"], near["jobs"], near["failed"]) == (
        "local", "the machine of Airflow's workers", ["made"], 1, 0
    )  # fmt: skip
    assert near["health"]["level"] == "good"
    assert re.fullmatch(r"the last job ended well (just now|\d+ s ago)", near["health"]["text"])
    assert near["contact"] == pytest.approx(time.time(), abs=60)
    far = deployment(web, "far")
    assert (far["where"], far["contact"], far["health"]) == (
        "127.0.0.1:1", None, {"level": "idle", "text": "no job ended here in the last 24 h"}
    )  # fmt: skip
    assert shown["runs"] == 1 and shown["notes"] == []


def test_who_may_see_no_dag_sees_no_site_and_who_has_not_logged_in_no_page(web: Served, run_id: str) -> None:
    assert sites(web, STRANGER)["sites"] == []
    for path in ("/airflow_hybrid/sites", "/airflow_hybrid/sites/list"):
        assert web.get(path, user=None).status == 401


def test_the_page_runs_nothing_but_its_own_modules(web: Served) -> None:
    answer = web.get("/airflow_hybrid/sites")
    page = answer.body.decode()
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'"
    )
    assert not re.search(r"<script[^>]*>[^<]|\bon\w+=|style=|https?://", page)
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
        assert web.get(f"/airflow_hybrid/{name}").status == 200, name


def report(**progress: Any) -> Any:
    record = JobRecord(
        "/" + HOSTILE, "[3]", "near", "", "host", JobState.NODE_FAIL, HOSTILE, submitted=time.time() - 90,
        began=time.time() - 60, seconds=30.0
    )  # fmt: skip
    stranger = JobRecord("/x", "", HOSTILE, "", "host", JobState.COMPLETED, began=time.time(), seconds=1.0)
    batches = [
        BatchProgress("/" + HOSTILE, place, 10, 2, 3, 5, (HOSTILE,), since=time.time() - 100, **progress)
        for place in ("inner/gpu (by far)", HOSTILE)
    ]
    return JobsReport((record, stranger), tuple(batches), time.time() - 40).to_json()


def test_batches_are_shown_while_their_run_is_not_over(web: Served) -> None:
    live, _ = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made")
    web.ask("set_xcom", dag_id="made", run_id=live, key="outputs.jobs", value=report())
    assert deployment(web, "inner")["batches"] == []
    web.ask("set_states", dag_id="made", run_id=live, run="running", tasks="deferred")
    inner = deployment(web, "inner")
    (batch,) = inner["batches"]
    told = {key: batch[key] for key in ("dag_id", "run_id", "task", "step", "total", "ended", "running", "pending")}
    assert told == {
        "dag_id": "made", "run_id": live, "task": "outputs", "step": "/" + HOSTILE,
        "total": 10, "ended": 2, "running": 3, "pending": 5,
    }  # fmt: skip
    assert inner["health"] == {"level": "good", "text": "3 jobs run and 5 jobs wait"}
    near = deployment(web, "near")
    assert near["health"] == {
        "level": "warn",
        "text": f"1 job of {near['jobs']} in the last 24 h failed for a reason of the site (node, lost, disk full)",
    }
    web.ask("set_xcom", dag_id="made", run_id=live, key="outputs.jobs", value=report(unknown="no answer " + HOSTILE))
    health = deployment(web, "inner")["health"]
    assert health["level"] == "bad"
    reason = "no answer <img src=x onerror=alert(1)>\\u202e"
    assert re.fullmatch(rf"the state of 1 batch is unknown: {re.escape(reason)} \(for 4\d s\)", health["text"])
    web.ask("set_xcom", dag_id="made", run_id=live, key="outputs.jobs", value={"version": 99})
    (note,) = sites(web)["notes"]
    problem = "not a report about jobs that this version reads"
    assert note == f"reports that are not counted (made, run {live}, task outputs): {problem}"
    web.ask("set_states", dag_id="made", run_id=live, run="success", tasks="success")


def test_who_may_trigger_the_dag_may_check_its_deployments(web: Served, run_id: str) -> None:
    assert deployment(web, "near")["check_dag"] is None
    assert deployment(web, "near", TRIGGERER)["check_dag"] == "made"
    for user, status in ((None, 401), (STRANGER, 403), (VIEWER, 403)):
        assert check(web, "near", user).status == status
    answer = check(web, "near")
    result = json.loads(answer.body)
    assert (answer.status, result["ok"]) == (200, True)
    seen = {finding["what"]: finding for finding in result["findings"]}
    assert list(seen) == ["reach", "login", "programs", "workdir", "scheduler", "capacity", "containers"]
    assert re.search(r" free, \d+ inodes", seen["workdir"]["detail"])
    assert re.fullmatch(r"[0-9.]+ of \d+ cores are free \(by its load\)", seen["capacity"]["detail"])
    assert deployment(web, "near")["checked"] == result, "others see the last result"


def test_a_deployment_that_cannot_be_reached_is_told_with_what_to_do(web: Served, run_id: str) -> None:
    began = time.monotonic()
    result = json.loads(check(web, "far").body)
    assert time.monotonic() - began < 60
    assert result["ok"] is False
    (failed,) = [finding for finding in result["findings"] if finding["result"] == "FAIL"]
    assert (failed["where"], failed["what"]) == ("far", "reach") and failed["hint"]
    assert "127.0.0.1:1" in failed["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
def test_a_page_of_another_site_cannot_start_a_check(web: Served, run_id: str, headers: dict[str, str]) -> None:
    refused = check(web, "near", **headers)
    problem = "this request comes from a page of another site: open the page Sites in Airflow and use its buttons"
    assert (refused.status, refused.detail) == (403, problem)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://testserver"}])
def test_the_pages_of_this_host_can(web: Served, run_id: str, headers: dict[str, str]) -> None:
    answer = check(web, "none", **headers)
    problem = "DAG made has no deployment none; load the page again"
    assert (answer.status, answer.detail) == (404, problem)


def test_a_name_that_is_none_of_the_dag_is_not_checked(web: Served, run_id: str) -> None:
    for name in ("%3Cb%3E", "..", "near%2F..%2Ffar"):
        assert check(web, name).status in (404, 405)


def test_many_runs_do_not_make_the_page_slow(web: Served) -> None:
    run_id, _ = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made")
    web.ask("copy_run", dag_id="made", run_id=run_id, count=1000)
    began_s = web.ask("cpu_s")
    first = sites(web)
    while any("not counted yet" in note for note in first["notes"]):
        first = sites(web)
    counted_s = web.ask("cpu_s") - began_s
    assert first["runs"] >= 1001 and deployment(web, "near")["jobs"] >= 1001
    times = []
    for _ in range(3):
        began_s = web.ask("cpu_s")
        sites(web)
        times.append(web.ask("cpu_s") - began_s)
    print(f"processor seconds: {counted_s:.2f} when the runs are counted, and then", times)
    assert min(times) < counted_s / 3
