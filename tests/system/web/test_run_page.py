# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The run page in a browser: what a person sees of a run, on a wide screen and on a phone, and what never happens."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.web.conftest import Opened, run_page

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def hello(airflow: AirflowStack, dags: Dags) -> tuple[str, str]:
    name = dags.add_like("hello/streamflow.yml", "hello_paged")
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {})
    airflow.api.succeed(name, run)
    return name, run


def is_serious(page: Page) -> list[str]:
    """What axe finds that keeps people from reading a page."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]


def test_the_tab_of_a_run_in_airflow_shows_its_sites_and_steps(
    airflow: AirflowStack, hello: tuple[str, str], opened: Opened
) -> None:
    name, run = hello
    with opened(f"{airflow.url}/dags/{name}/runs/{quote(run, safe='')}/plugin/airflow_hybrid_run") as watched:
        frame = watched.page.frame_locator("iframe")
        expect(frame.locator("#head .chip")).to_have_text("success")
        expect(frame.get_by_role("heading", name="Sites and transfers")).to_be_visible()
        expect(frame.locator("#steps tbody tr")).to_have_count(3)
        watched.shot("tab")
        watched.errors.clear()  # Airflow's own pages have warnings of their libraries


def test_the_page_has_everything_of_a_run(airflow: AirflowStack, hello: tuple[str, str], opened: Opened) -> None:
    with opened(run_page(airflow, *hello)) as watched:
        page = watched.page
        expect(page.locator("#head .chip")).to_have_text("success")
        for heading in ("Sites and transfers", "Steps", "Timeline", "Jobs", "Used against asked", "Outputs"):
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        page.locator("#jobs tbody button").first.click()
        expect(page.locator("#jobs .facts")).to_contain_text("exit code")
        page.get_by_role("button", name="look at summary.md").click()
        expect(page.locator(".preview .markdown")).to_be_visible()
        page.locator("#timeline .label button").first.click()
        canvas = page.locator("#timeline canvas")
        canvas.focus()
        for key in ("+", "ArrowRight", "-", "0"):
            page.keyboard.press(key)
        assert is_serious(page) == []
        watched.shot("run-page")


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone_in_light_and_dark(
    airflow: AirflowStack, hello: tuple[str, str], opened: Opened, dark: bool
) -> None:
    with opened(run_page(airflow, *hello), dark=dark, narrow=True) as watched:
        page = watched.page
        expect(page.get_by_role("heading", name="Outputs", exact=True)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        light = sum(int(part) for part in re.findall(r"\d+", background)[:3]) > 380
        assert light is not dark
        assert is_serious(page) == []
        watched.shot("phone-dark" if dark else "phone")


def test_the_page_of_a_task_has_its_step_only(airflow: AirflowStack, hello: tuple[str, str], opened: Opened) -> None:
    with opened(run_page(airflow, *hello, "?task_id=summarise&map_index=-1")) as watched:
        expect(watched.page.locator("#steps tbody tr")).to_have_count(1)
        expect(watched.page.locator("#jobs .pager")).to_contain_text("1 to 1 of 1 job")
