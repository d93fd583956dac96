# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The run page while its run goes on: from Airflow's form to the end, and when it is cleared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.web.conftest import Opened, is_serious, run_page

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow]
DAG = "talking_paged"
JOBS = 3


@dataclass(frozen=True)
class Live:
    """A run whose jobs end one after the other, as they are let."""

    airflow: AirflowStack
    gate: Path
    run: str

    def let_end(self, job: int) -> None:
        Path(f"{self.gate}.{job}").touch()

    def let_all_end(self) -> None:
        for job in range(JOBS):
            self.let_end(job)


@pytest.fixture(scope="module")
def gate(airflow: AirflowStack, dags: Dags) -> Iterator[Path]:
    """The DAG, and the path of the files that let its jobs end: in the end, all that are left."""
    gate = dags.work / "gate"
    gate.parent.mkdir(parents=True, exist_ok=True)
    inputs = {"gate": str(gate), "numbers": list(range(JOBS))}
    (dags.folder / "documents" / f"{DAG}_inputs.yml").write_text(json.dumps(inputs))
    places = {name: {"type": "local", "config": {}, "workdir": str(dags.work / name)} for name in ("left", "right")}
    bindings = [
        {"step": "/talk", "target": {"deployment": "left"}, "scatter": "batch"},
        {"step": "/count", "target": {"deployment": "right"}},
    ]
    config = {"file": "talking.cwl", "settings": f"{DAG}_inputs.yml"}
    workflow = {"type": "cwl", "config": config, "bindings": bindings}
    dags.add(DAG, yaml.safe_load(json.dumps({"version": "v1.0", "workflows": {DAG: workflow}, "deployments": places})))
    airflow.api.unpause(DAG)
    yield gate
    for job in range(JOBS):
        Path(f"{gate}.{job}").touch()


@pytest.fixture(scope="module")
def live(airflow: AirflowStack, gate: Path, opened: Opened) -> Live:
    """A run that a person has started with Airflow's form."""
    with opened(f"{airflow.url}/dags/{DAG}") as watched:
        page = watched.page
        page.get_by_test_id("trigger-dag-button").click()
        form = page.get_by_role("dialog")
        form.locator("[name=element_greeting]").fill("good morning")
        form.get_by_role("button", name="Trigger", exact=True).click()
        expect(page).to_have_url(re.compile("/runs/"))
        run = unquote(urlsplit(page.url).path.rpartition("/runs/")[2].partition("/")[0])
        watched.errors.clear()  # Airflow's own pages have warnings of their libraries
    return Live(airflow, gate, run)


def stays_loaded(page: Page) -> None:
    """From here on a page that is loaded anew is noticed by :func:`is_loaded_since`."""
    page.evaluate("window.isKept = true")


def is_loaded_since(page: Page) -> bool:
    return bool(page.evaluate("window.isKept === true"))


def test_a_run_is_started_by_the_form_and_followed_to_its_end(live: Live, opened: Opened) -> None:
    with opened(run_page(live.airflow, DAG, live.run)) as watched:
        page = watched.page
        stays_loaded(page)
        talk = page.locator("#steps tbody tr").first
        expect(page.locator("#head .chip")).to_have_text("running")
        expect(talk).to_contain_text(f"0 of {JOBS}")
        follow_the_log_of_a_running_job(page)
        assert is_serious(page) == []
        watched.shot("live")
        live.let_end(0)
        expect(talk).to_contain_text(f"1 of {JOBS}")
        expect(page.locator("#answers")).to_be_visible()
        live.let_all_end()
        expect(page.locator("#head .chip")).to_have_text("success")
        expect(talk.locator(".jobs")).to_have_text(str(JOBS))
        expect(page.locator("#answers")).to_be_hidden()
        page.get_by_role("button", name="look at counted.txt").click()
        expect(page.locator(".preview pre")).to_contain_text(f"{JOBS} good morning")
        assert is_loaded_since(page)


def follow_the_log_of_a_running_job(page: Page) -> None:
    """What a job that runs has written, and then what it writes."""
    box = page.locator("#jobs")
    box.get_by_label("name of a running job").fill("/talk[0]")
    box.get_by_role("button", name="show").click()
    box.get_by_role("button", name="stdout").click()
    log = box.get_by_role("log")
    expect(log).to_contain_text("good morning 1")
    lines = len(log.inner_text().splitlines())
    box.get_by_label("follow").check()
    expect(log).to_contain_text(f"good morning {lines + 3}\n")
    expect(log).not_to_contain_text("good morning 1\ngood morning 1\n")


def test_a_page_stays_open_while_its_run_is_cleared(live: Live, opened: Opened) -> None:
    live.let_all_end()
    live.airflow.api.succeed(DAG, live.run)
    with opened(run_page(live.airflow, DAG, live.run)) as watched:
        page = watched.page
        expect(page.locator("#head .chip")).to_have_text("success")
        stays_loaded(page)
        for job in range(JOBS):
            Path(f"{live.gate}.{job}").unlink()
        live.airflow.api.clear(DAG, live.run)
        expect(page.locator("#head .chip")).to_have_text("running")
        expect(page.locator("#steps tbody tr").first).to_contain_text(f"0 of {JOBS}")
        expect(page.locator("#outputs")).to_be_hidden()
        live.let_all_end()
        expect(page.locator("#head .chip")).to_have_text("success")
        expect(page.locator("#jobs .pager")).to_contain_text(f"{JOBS + 1} jobs")
        assert is_loaded_since(page)
