# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Links in the documentation lead somewhere: to a file of the project, and to a heading that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("dags/**/*.md")])
MARKDOWN = MarkdownIt("commonmark").enable("table")


def tokens(page: Path) -> list[Token]:
    return MARKDOWN.parse(page.read_text(encoding="utf-8"))


def inline(page: Path) -> Iterator[Token]:
    for token in tokens(page):
        yield from token.children or ()


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead, as they are written."""
    targets = [token.attrGet("href") or token.attrGet("src") for token in inline(page)]
    return [str(target) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings in addresses, as GitHub gives them."""
    names: set[str] = set()
    previous = None
    for token in tokens(page):
        if previous is not None and previous.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            numbered = (f"{name}-{number}" if number else name for number in range(1000))
            names.add(next(candidate for candidate in numbered if candidate not in names))
        previous = token
    return names


def problem(page: Path, link: str) -> str | None:
    """Why a link of a page leads nowhere; None: it does, or leaves the project."""
    address = urlsplit(link)
    if address.scheme or address.netloc:
        return None
    target = (page.parent / unquote(address.path)).resolve() if address.path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: there is no such file"
    if address.fragment and unquote(address.fragment) not in anchors(target):
        return f"{link}: {target.name} has no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [found for link in links(page) if (found := problem(page, link))] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "page.md"
    assert problem(page, "https://example.org/nowhere") is None
    assert problem(page, "tutorial.md") is None
    assert problem(page, "nowhere.md") == "nowhere.md: there is no such file"
    assert problem(page, "../../outside.md") == "../../outside.md: there is no such file"
    assert problem(page, "tutorial.md#nowhere") == "tutorial.md#nowhere: tutorial.md has no such heading"


def test_headings_are_named_as_github_names_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# What is in `outdir` already?\n\n## A queue system's service\n\n## Again\n\n## Again\n")
    assert anchors(page) == {"what-is-in-outdir-already", "a-queue-systems-service", "again", "again-1"}
