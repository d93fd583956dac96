# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The run page of the example claire at its default grid: what one can say from it without knowing the project."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.web.conftest import Opened, is_serious, run_page

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.long]
HEIGHT_OF_PICTURES = 1400


@pytest.fixture(scope="module")
def claire(airflow: AirflowStack, dags: Dags) -> tuple[str, str]:
    name = dags.add_like("claire/streamflow.yml", "claire_paged")
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {}, run_id="the-default-grid")
    airflow.api.succeed(name, run, 800)
    return name, run


def test_the_page_answers_what_a_stranger_asks(airflow: AirflowStack, claire: tuple[str, str], opened: Opened) -> None:
    with opened(run_page(airflow, *claire)) as watched:
        page = watched.page
        # which variant won
        expect(page.locator("#head .results")).to_have_text(re.compile(r"^bestv\d{3}: .* accuracy \d\d\.\d %$"))
        # where training ran, and how many bytes moved
        train = page.locator("#steps tbody tr").filter(has_text=re.compile("^train"))
        expect(train.locator("td").nth(3)).to_have_text("hpc")
        expect(page.locator("#head .figures")).to_contain_text(re.compile(r"Moved between sites\d\.\d MB"))
        # which step to give less memory
        expect(page.locator("#usage")).to_contain_text(
            re.compile(r"Could ask for less: .*\btrain: memory \d+ MiB instead of 512 MiB")
        )
        assert is_serious(page) == []
        watched.shot("claire", HEIGHT_OF_PICTURES)
        page.get_by_role("button", name="look at report.png").click()
        picture = page.get_by_role("img", name="the picture report.png")
        expect(picture).to_be_visible()
        assert page.evaluate("image => image.decode().then(() => image.naturalWidth)", picture.element_handle()) > 300
        watched.shot("claire-outputs")


def test_the_page_fits_a_phone(airflow: AirflowStack, claire: tuple[str, str], opened: Opened) -> None:
    with opened(run_page(airflow, *claire), dark=True, narrow=True) as watched:
        expect(watched.page.locator("#head .results")).to_be_visible()
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
        watched.shot("claire-phone-dark", HEIGHT_OF_PICTURES)
