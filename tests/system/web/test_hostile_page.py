# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The run page of a workflow that tries to be more than text: names, logs and outputs are shown as they are."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.web.conftest import Opened, is_serious, run_page
from tests.system.web.hostile import ENDS_WITH_0, FILES, LONG, SCRIPT, STEP, write_workflow

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow]
DAG = "hostile_paged"
SHOWN = f"{SCRIPT}\\u202egnp.txt"


@pytest.fixture(scope="module")
def runs(airflow: AirflowStack, dags: Dags) -> dict[str, str]:
    """One that has succeeded, and one that has failed."""
    write_workflow(dags.folder / "documents", DAG)
    place = {"type": "local", "config": {}, "workdir": str(dags.work / "hostile")}
    bindings = [{"step": "/", "target": {"deployment": "here"}}]
    workflow = {"type": "cwl", "config": {"file": f"{DAG}.cwl"}, "bindings": bindings}
    dags.add(DAG, {"version": "v1.0", "workflows": {DAG: workflow}, "deployments": {"here": place}})
    airflow.api.unpause(DAG)
    runs = {"failed": airflow.api.trigger(DAG, {"bad": True}), "success": airflow.api.trigger(DAG, {})}
    for state, run in runs.items():
        assert airflow.api.wait_run(DAG, run)["state"] == state, airflow.api.failures(DAG, run)
    return runs


def fits(page: Page, width: int) -> None:
    """Nothing widens the page, and nothing of the workflow has become an element or ran."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("main :is(script, iframe, object, [onerror], [onload])").count() == 0
    assert page.locator("a[href^='javascript:' i], img[src='x'], img[src='x.png']").count() == 0


@pytest.mark.parametrize(("dark", "narrow"), [(False, False), (True, True)])
def test_a_failed_job_says_why_and_its_log_is_text(
    airflow: AirflowStack, runs: dict[str, str], opened: Opened, dark: bool, narrow: bool
) -> None:
    with opened(run_page(airflow, DAG, runs["failed"]), dark=dark, narrow=narrow) as watched:
        page = watched.page
        expect(page.locator("#head .chip")).to_have_text("failed")
        answer = page.locator("#answers li").first
        expect(answer).to_contain_text(f"/{STEP} failed")
        expect(answer).to_contain_text("its program reports a failure: exit code 1")
        missing = page.locator("#answers li").filter(has=page.get_by_text(f"/{ENDS_WITH_0}", exact=True))
        expect(missing).to_contain_text("its outputs are not what its document says: output 'it': no file matches")
        answer.get_by_role("button", name=f"log of /{STEP}").click()
        log = answer.get_by_role("log")
        expect(log).to_contain_text(f"{SCRIPT}\\u202e red")
        expect(log).not_to_contain_text("\x1b")
        expect(log).to_be_focused()
        jobs = page.locator("#jobs tbody tr")
        for step, code in ((STEP, 1), (ENDS_WITH_0, 0)):
            row = jobs.filter(has=page.get_by_role("button", name=f"/{step}"))
            expect(row.locator("td").nth(2)).to_have_text(f"failed ({code})")
        jobs.get_by_role("button", name=f"/{STEP}").click()
        expect(page.locator("#jobs .facts")).to_contain_text("exit code")
        page.locator("#jobs .logs").get_by_role("button", name="stderr").click()
        log = page.locator("#jobs .logs").get_by_role("log")
        expect(log).to_contain_text(f"{SCRIPT}\\u202e red")
        expect(log).to_contain_text("<script>alert(9)</script>")
        expect(log).not_to_contain_text("\x1b")
        fits(page, 390 if narrow else 1280)
        assert is_serious(page) == []
        watched.shot("failed-phone-dark" if narrow else "failed")


def test_outputs_are_looked_at_without_running_what_they_hold(
    airflow: AirflowStack, runs: dict[str, str], opened: Opened
) -> None:
    with opened(run_page(airflow, DAG, runs["success"])) as watched:
        page = watched.page
        expect(page.locator("#outputs tbody tr")).to_have_count(len(FILES))
        looks = {
            "page.md": ".markdown h3", "picture.svg": "img", "table.csv": "td", "page.html": "pre", SHOWN: "pre",
            f"{LONG}.txt": "pre",
        }  # fmt: skip
        for name, kind in looks.items():
            page.get_by_role("button", name=f"look at {name}", exact=True).click()
            expect(page.locator(f".preview {kind}").first).to_be_visible()
            fits(page, 1280)
        page.get_by_role("button", name=f"look at {SHOWN}", exact=True).click()
        page.get_by_role("button", name="look at page.md", exact=True).click()
        expect(page.locator(".preview")).to_contain_text(re.compile("<script>|alert"))
        assert is_serious(page) == []
        watched.shot("hostile-outputs")
    with opened(run_page(airflow, DAG, runs["success"]), narrow=True) as watched:
        expect(watched.page.locator("#outputs tbody tr")).to_have_count(len(FILES))
        fits(watched.page, 390)
        watched.shot("hostile-outputs-phone")
