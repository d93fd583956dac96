# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The connector of docs/how-to/write-a-connector.md is complete: as a package of its own it keeps the contract."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_hybrid.config import load_hybrid_file
from airflow_hybrid.sites.connectors import Connector
from airflow_hybrid.sites.connectors.registry import connector_class
from airflow_hybrid.testing import ConnectorContract

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-connector.md"


def block(title: str) -> str:
    """The text of the page's code block of that title."""
    found = re.search(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', PAGE.read_text(), re.S | re.M)
    assert found, f"{PAGE.name} has no block {title}"
    return found[1]


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """The page's connector, installed: its module and its entry point are on the path."""
    folder = tmp_path / "site-packages"
    info = folder / "exec_connector-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "exec_connector.py").write_text(block("exec_connector.py"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: exec-connector\nVersion: 1.0\n")
    toml = block("pyproject.toml")
    group = re.search(r'entry-points\."([^"]+)"', toml)
    assert group
    lines = toml.replace('"', "").splitlines()[1:]
    (info / "entry_points.txt").write_text("\n".join([f"[{group[1]}]", *lines]) + "\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("exec_connector", None)


def test_it_is_short() -> None:
    assert len(block("exec_connector.py").splitlines()) <= 100


class TestExec(ConnectorContract):
    @pytest.fixture
    def make_connector(self, package: Path, tmp_path: Path) -> Callable[[], Connector]:
        """By its type, from a hybrid file like the page's; the command gives a home and an environment of its own."""
        text = block("streamflow.yml").replace(
            "[docker, exec, -i, box]", json.dumps(["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={tmp_path}"])
        )
        file = tmp_path / "streamflow.yml"
        file.write_text("version: v1.0\n" + text.replace("workdir: /work", "workdir: ~/work here"))
        deployment = load_hybrid_file(file, cache_dir=str(tmp_path)).deployments["box"]
        assert deployment.config["command"][0] == "env", "the page has another command now"
        return lambda: connector_class(deployment)(deployment)
