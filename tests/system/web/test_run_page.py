# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The run page in a browser: what a person sees of a run, on a wide screen and on a phone, and what never happens."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.web.conftest import SCREENSHOTS, Opened, is_serious, run_page

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def hello(airflow: AirflowStack, dags: Dags) -> tuple[str, str]:
    name = dags.add_like("hello/streamflow.yml", "hello_paged")
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {})
    airflow.api.succeed(name, run)
    return name, run


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


def test_the_page_sites_shows_the_figures_of_a_check(
    airflow: AirflowStack, hello: tuple[str, str], opened: Opened
) -> None:
    with opened(f"{airflow.url}/airflow_hybrid/sites") as watched:
        page = watched.page
        button = page.get_by_role("button", name=re.compile("^check ")).first
        button.click()
        figures = page.get_by_role("region", name="seen by the last check").first
        expect(figures.locator("dt").first).to_be_visible()
        expect(figures.locator("dd").first).to_have_text(re.compile(r"\d"))
        assert is_serious(page) == []
        watched.shot("sites-page-checked")


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


DRAW_MAP = """async (overview) => {
    const { showMap } = await import(new URL("map.js", document.querySelector("script").src));
    const section = document.querySelector("#map");
    showMap(section, overview, null);
    const shapes = [...section.querySelectorAll("svg.map .words, svg.map .site rect")];
    const boxes = shapes.map((shape) => shape.getBoundingClientRect());
    return boxes.map(({ left, right, top, bottom }) => [left, right, top, bottom]);
}"""

BEYOND_MAP = """() => {
    const map = document.querySelector("svg.map").getBoundingClientRect();
    const isBeyond = ({ left, right, top, bottom }) =>
        left < map.left || right > map.right || top < map.top || bottom > map.bottom;
    const shapes = [...document.querySelectorAll("svg.map :is(.line, .words, rect)")];
    return shapes.filter((shape) => isBeyond(shape.getBoundingClientRect())).map((shape) => shape.outerHTML);
}"""


@pytest.mark.parametrize("narrow", [False, True])
def test_words_on_the_map_lie_neither_on_each_other_nor_on_sites(
    airflow: AirflowStack, hello: tuple[str, str], opened: Opened, narrow: bool
) -> None:
    with opened(run_page(airflow, *hello), narrow=narrow) as watched:
        expect(watched.page.get_by_role("heading", name="Outputs", exact=True)).to_be_visible()
        for names in ("ab", "abc", "abcd", "abcdef"):
            boxes = watched.page.evaluate(DRAW_MAP, crowded_map(names))
            assert len(boxes) == len(names) + 12
            on_each_other = [
                (one, other)
                for one, other in itertools.combinations(boxes, 2)
                if one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
            ]
            assert on_each_other == []
            assert watched.page.evaluate(BEYOND_MAP) == []
        watched.page.locator("#map").screenshot(path=SCREENSHOTS / f"map{'-phone' if narrow else ''}.png")


def crowded_map(names: str) -> dict[str, Any]:
    """An overview with a dozen transfers between sites."""
    figures = dict.fromkeys(("jobs", "nodes", "core_s", "failed", "running", "pending"), 1)
    routes = ("direct", "relay", "copy", "fetch", "link", "other")
    moved = [(*pair, route) for route in routes for pair in itertools.permutations(names, 2)]
    transfers = [
        {"source": source, "target": target, "route": route, "bytes": 10**number}
        for number, (source, target, route) in enumerate(moved[:12])
    ]
    return {
        "sites": [{"name": name, "kinds": ["slurm"], "deployments": [], **figures} for name in names],
        "transfers": [{**transfer, "files": 2, "seconds": 3, "task_ids": []} for transfer in transfers],
    }
