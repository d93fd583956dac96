# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_hybrid.provider_info import get_provider_info

ROOT = Path(__file__).parents[2]


def read_toml(name: str) -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later read TOML")
    content: dict[str, Any] = tomllib.loads((ROOT / name).read_text())
    return content


def test_airflow_accepts_what_the_provider_says_of_itself() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_every_module_that_it_names_is_there() -> None:
    info = get_provider_info()
    modules = [
        m for kind in ("operators", "hooks", "triggers") for entry in info[kind] for m in entry["python-modules"]
    ]
    assert [m for m in modules if importlib.util.find_spec(m) is None] == []


def test_every_command_function_that_it_names_gives_commands() -> None:
    for name in get_provider_info()["cli"]:
        module, _, function = name.rpartition(".")
        assert getattr(importlib.import_module(module), function)()


def test_the_entry_points_of_the_package_lead_to_what_is_there() -> None:
    project = read_toml("pyproject.toml")["project"]
    assert project["name"] == get_provider_info()["package-name"]
    for group in ("apache_airflow_provider", "airflow.plugins"):
        for reference in project["entry-points"][group].values():
            module, _, name = reference.partition(":")
            assert hasattr(importlib.import_module(module), name)


def test_asking_costs_no_imports() -> None:
    code = (
        "import sys; import airflow_hybrid.provider_info; print([m for m in sys.modules if m.startswith('airflow.')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_lock_file_names_public_indexes_only() -> None:
    lock = read_toml("uv.lock")
    sources = {json.dumps(p["source"]) for p in lock["package"] if p["name"] != "airflow-hybrid"}
    assert sources == {'{"registry": "https://pypi.org/simple"}'}
    urls = [f["url"] for p in lock["package"] for f in [*p.get("wheels", []), *([p["sdist"]] if "sdist" in p else [])]]
    assert [u for u in urls if not u.startswith("https://files.pythonhosted.org/")] == []


# deprecated, and still what shows how Airflow has read the metadata of the package
@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_the_connection_type_has_a_legal_name_and_keeps_its_old_one(caplog: pytest.LogCaptureFixture) -> None:
    from airflow.models.connection import Connection
    from airflow.providers_manager import ProvidersManager

    by_attribute = Connection("c", conn_type="hybrid-ssh", host="h")
    by_uri = Connection("c", uri="hybrid-ssh://h")
    old = Connection("c", conn_type="hybrid_ssh", host="h")
    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow has no types for it
    for connection in (by_attribute, by_uri, old):
        hook = connection.get_hook()  # type: ignore[no-untyped-call]  # Airflow has no types for it
        assert hook.get_conn().config == {"conn_id": "c"}
        read = manager.hooks[connection.conn_type]
        assert read is not None and read.connection_type == hook.conn_type
    assert (by_attribute.get_uri(), by_uri.get_uri()) == ("hybrid-ssh://h", "hybrid-ssh://h")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_lock_has_all_that_the_project_asks_for() -> None:
    project = read_toml("pyproject.toml")["project"]
    (locked,) = [package for package in read_toml("uv.lock")["package"] if package["name"] == "airflow-hybrid"]
    extras = project["optional-dependencies"]
    assert locked["metadata"]["provides-extras"] == sorted(extras)
    asked = len(project["dependencies"]) + sum(map(len, extras.values()))
    assert len(locked["metadata"]["requires-dist"]) == asked, "run `uv lock`"
