# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A browser that is logged in to the session's Airflow, and watches what its pages do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.needs import unavailable
from tests.system.airflow_stack import USER, AirflowStack

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


PATIENCE_MS = 120_000
"""a busy machine takes its time; what is there at once is seen at once"""
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Watched:
    """A page, and what it has done.

    :ivar errors: in its console, and of its scripts; ``hosts``: that it has asked for something.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))

    def _told(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def shot(self, name: str, height: int | None = None) -> None:
        """Keep what the page looks like: all of it, or its upper part."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        before = self.page.viewport_size
        if height is None or before is None:
            self.page.screenshot(path=path, full_page=True)
            return
        self.page.set_viewport_size({"width": before["width"], "height": height})
        self.page.evaluate("window.scrollTo(0, 0)")
        self.page.screenshot(path=path)
        self.page.set_viewport_size(before)


def run_page(airflow: AirflowStack, dag: str, run: str, query: str = "") -> str:
    """The address of the run page by itself."""
    return f"{airflow.url}/airflow_hybrid/dags/{quote(dag, safe='')}/dagRuns/{quote(run, safe='')}/page{query}"


def is_serious(page: Page) -> list[str]:
    """What axe finds that keeps people from reading a page."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        unavailable("the browser", "Chromium", "apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def login(airflow: AirflowStack, browser: Browser) -> dict[str, Any]:
    """The cookies of somebody who has logged in, as a person does."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{airflow.url}/")
    page.fill("input[name=username]", USER)
    page.fill("input[name=password]", airflow.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    state: dict[str, Any] = dict(context.storage_state())
    context.close()
    return state


Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def opened(browser: Browser, login: dict[str, Any]) -> Opened:
    """Opens a page: a context manager; whatever it is, it has no errors, and asks no other host."""

    @contextmanager
    def open_page(url: str, *, dark: bool = False, narrow: bool = False) -> Iterator[Watched]:
        context: BrowserContext = browser.new_context(
            storage_state=login,  # type: ignore[arg-type] # the same value that playwright gave
            viewport=NARROW if narrow else WIDE,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(PATIENCE_MS)
        watched = Watched(context.new_page())
        try:
            watched.page.goto(url)
            yield watched
            # what a script has put in as a text, though it is none
            assert not [frame.url for frame in watched.page.frames if "[object " in frame.inner_text("body")]
        except BaseException:
            watched.shot("when-a-test-failed")
            raise
        finally:
            context.close()
        assert watched.errors == []
        assert watched.hosts <= {urlsplit(url).netloc, ""}

    return open_page
