# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What pages link to, and the modules and tests that they name, is there."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.engine.placing.policies import POLICY_GROUP
from airflow_hybrid.sites.connectors.clusters import SCHEDULER_GROUP
from airflow_hybrid.sites.connectors.registry import ENTRY_POINT_GROUP

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_hybrid"
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "dags/*.md", "tests/**/*.md") for path in ROOT.glob(pattern)
    if "conformance/v" not in path.as_posix()
)  # fmt: skip
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists())
PUNCTUATION = str.maketrans("", "", string.punctuation.replace("-", "").replace("_", ""))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {heading.lower().translate(PUNCTUATION).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: there is no such heading"


def dead_paths(page: Path) -> Iterator[str]:
    """Names in backticks that look like a module, a room or a test of ours."""
    for name in re.findall(r"`([\w./-]+?)(?:::\w+)?`", prose(page)):
        first, slash, _ = name.partition("/")
        if slash and first in ROOMS:
            there = any((PACKAGE / f"{name}{suffix}").exists() for suffix in ("", ".py", ".sh", ".js"))
        elif slash and first in ("airflow_hybrid", "tests", "scripts", "benchmarks", "docker"):
            there = (ROOT / name).exists()
        elif name.startswith("airflow_hybrid."):
            there = name in (POLICY_GROUP, SCHEDULER_GROUP, ENTRY_POINT_GROUP) or importable(name)
        else:
            continue
        if not there:
            yield f"`{name}`: there is no such file or name"


def importable(name: str) -> bool:
    """Whether it is a module, or a name that a module's text defines or imports."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return module.exists() and re.search(rf"\b{path.name}\b", module.read_text()) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    assert [*dead_links(page), *dead_paths(page)] == []


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page, of `ours`\n[a](#a-page-of-ours) [b](#b) [c](c.md) [d](https://example.org/d)\n"
        "`sites/hosts/base` `sites/nowhere.py` `airflow_hybrid.hooks.connectors.Host` `airflow_hybrid.nothing` `a/b`\n"
    )
    assert [*dead_links(page), *dead_paths(page)] == [
        "#b: there is no such heading",
        "c.md: there is no such file",
        "`sites/nowhere.py`: there is no such file or name",
        "`airflow_hybrid.nothing`: there is no such file or name",
    ]
