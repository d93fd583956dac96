# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may ask for what, and what every answer says to browsers: over all routes, so that none is forgotten."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import pytest

from tests.unit.web.served import STRANGER, VIEWER, Served, served

RUN = "/dags/{dag_id}/dagRuns/{run_id}/"
FOR_ALL_USERS = {"/static/{tag}/{folder}/{name}": ["GET"], "/sites": ["GET"], "/sites/list": ["GET"]}
"""routes without anything of a DAG that their user may not see"""
FOR_WHO_MAY_TRIGGER = {"/sites/{dag_id}/{deployment}/check": ["POST"]}
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home")) as application:
        yield application


def url_of(path: str) -> str:
    return "/airflow_hybrid" + re.sub(r"\{[^}]*\}", KEY, path)


def test_every_route_of_a_run_needs_a_login_and_the_right_to_see_the_runs_of_the_dag(web: Served) -> None:
    others = {**FOR_ALL_USERS, **FOR_WHO_MAY_TRIGGER}
    routes = [(path, methods) for path, methods in web.ask("routes") if path not in others]
    assert len(routes) >= 9
    for path, methods in routes:
        assert path.startswith(RUN) and methods == ["GET"], path
        assert web.get(url_of(path), user=None).status == 401, path
        refused = web.get(url_of(path), user=STRANGER)
        assert (refused.status, refused.detail) == (403, "Forbidden"), path
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert web.get(url_of(path), method=method).status == 405, path
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert web.get("/airflow_hybrid" + path).status == 404


def test_what_all_users_get_needs_a_login(web: Served) -> None:
    routes = dict(web.ask("routes"))
    for path, methods in FOR_ALL_USERS.items():
        assert routes[path] == methods
        assert web.get(url_of(path), user=None).status == 401, path
        assert web.get(url_of(path), user=STRANGER).status in (200, 404), path


def test_what_does_something_needs_the_right_to_trigger_the_dag(web: Served) -> None:
    routes = dict(web.ask("routes"))
    for path, methods in FOR_WHO_MAY_TRIGGER.items():
        assert routes[path] == methods == ["POST"]
        for user, status in ((None, 401), (STRANGER, 403), (VIEWER, 403)):
            assert web.get(url_of(path), user=user, method="POST").status == status, (path, user)
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            assert web.get(url_of(path), method=method).status == 405, path


def test_a_page_runs_and_loads_only_what_is_of_this_package(web: Served) -> None:
    answer = web.get(url_of(RUN + "page"))
    page = answer.body.decode()
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
        " frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script[^>]*>[^<]|\bon\w+=|style=|https?://", page)
    loaded = re.findall(r'(?:src|href)="(?:\.\./){4}(static/[^"]+)"', page)
    assert len(loaded) >= 2
    for name in loaded:
        file = web.get(f"/airflow_hybrid/{name}")
        assert (file.status, file.headers["cache-control"]) == (200, "private, max-age=31536000, immutable"), name
        again = web.get(f"/airflow_hybrid/{name}", headers={"If-None-Match": file.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    of_another_version = web.get(f"/airflow_hybrid/static/{KEY}/run/run.js")
    assert (of_another_version.status, of_another_version.headers["cache-control"]) == (200, "private, no-cache")


def test_a_page_names_all_modules_that_its_modules_import(web: Served) -> None:
    for route, first in ((RUN + "page", "run/run.js"), ("/sites", "sites/sites.js")):
        page = web.get(url_of(route)).body.decode()
        (static,) = set(re.findall(r'href="(?:\.\./)*(static/\w{20})/', page))
        named = set(re.findall(r'rel="modulepreload" href="[^"]*static/\w{20}/([^"]+)"', page))
        assert first in named
        for module in named:
            text = web.get(f"/airflow_hybrid/{static}/{module}").body.decode()
            imported = re.findall(r'^import .* from "([^"]+)"', text, re.MULTILINE)
            assert {posixpath.normpath(f"{module}/../{name}") for name in imported} <= named, module


def test_pages_are_there_before_all_that_reaches_sites_is_imported(web: Served) -> None:
    for path in (url_of(RUN + "page"), url_of(RUN + "overview"), "/airflow_hybrid/sites/list"):
        assert web.get(path).status in (200, 404)
    for module in ("airflow_hybrid.engine", "airflow_hybrid.sites.connectors", "cwltool", "asyncssh"):
        assert not web.ask("has_imported", module=module), module


@pytest.mark.parametrize("name", ["run/..%2f..%2fpages.py", "run/run.html", "..%2f..%2f..%2fetc/passwd", "run/none.js"])
def test_only_modules_and_styles_are_static_files(web: Served, name: str) -> None:
    assert web.get(f"/airflow_hybrid/static/{KEY}/{name}").status == 404
