# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checks in the API server: few at a time, and none for longer than its limit, whatever a host does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import HTTPException

from airflow_hybrid.config import Deployment
from airflow_hybrid.web.sites.checks import Checks, key_of


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a host that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def deployments(port: int, *names: str) -> dict[str, Deployment]:
    config = {"nodes": [{"hostname": f"127.0.0.1:{port}", "username": "ann"}], "connectTimeout": 30}
    return {name: Deployment(name, "ssh", config, workdir="/w") for name in names}


def test_a_check_ends_at_its_limit_and_meanwhile_no_other_one_is_started(silent: int) -> None:
    checks, hosts = Checks(most_at_once=1, limit_s=3.0), deployments(silent, "a", "b")
    began = time.monotonic()
    first = threading.Thread(target=checks.run, args=(hosts, "a"))
    first.start()
    time.sleep(0.5)
    for name, problem in (
        ("a", "deployment a is being checked; wait for the result of that check"),
        ("b", "too many deployments are being checked (1 at a time); try again in a minute"),
    ):
        with pytest.raises(HTTPException) as refused:
            checks.run(hosts, name)
        assert (refused.value.status_code, refused.value.detail) == (429, problem)
    first.join(28)
    assert 3.0 <= time.monotonic() - began < 28
    result = checks.last(key_of(hosts, "a"))
    assert result is not None and not result.ok
    (finding,) = result.findings
    assert (finding.what, finding.result, finding.detail) == ("all", "FAIL", "the check did not end in 3 s")


def test_a_result_is_that_of_the_deployment_as_it_was(tmp_path: Path) -> None:
    checks, here = Checks(), {"here": Deployment("here", "local", workdir=str(tmp_path))}
    result = checks.run(here, "here")
    assert result.ok and checks.last(key_of(here, "here")) == result
    assert checks.run(here, "here") is result
    moved = {"here": Deployment("here", "local", workdir=str(tmp_path / "other"))}
    assert checks.last(key_of(moved, "here")) is None
