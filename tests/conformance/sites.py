# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the steps of the conformance tests run: this machine, or a site of the test bed, and nothing shared."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from tests.testbed.fixture import Testbed

SITES = ("local", "hpc", "cloud")


def connections(testbed: Testbed) -> dict[str, str]:
    """Airflow Connections to the sites of a test bed, as environment variables."""
    found = {}
    for site in testbed.sites.values():
        extra = {"key_file": str(site.key), "host_key": site.host_key}
        value = {"conn_type": "ssh", "host": site.host, "login": site.user, "port": site.port, "extra": extra}
        found[f"AIRFLOW_CONN_CONFORMANCE_{site.name.upper()}"] = json.dumps(value)
    return found


def options(site: str, folder: str, containers: str) -> Mapping[str, Any]:
    """Arguments of ``HybridDag`` that bind all steps to ``site``.

    :param folder: where the jobs are, at ``local``.
    :param containers: the deployments' ``containers``: ``auto``, ``none``, or the name of a runtime.
    """
    if site == "local":
        return {"deployments": {"local": {"type": "local", "config": {}, "workdir": folder, "containers": containers}}}
    workdir = f"$HOME/conformance/{os.getpid()}"
    deployments: dict[str, Any] = {
        "login": {
            "type": "ssh",
            "config": {"conn_id": f"conformance_{site}"},
            "workdir": workdir,
            "containers": containers,
        }
    }
    if site == "hpc":
        services = {"main": {"partition": "main", "account": "proj"}}
        deployments["hpc"] = {
            "type": "slurm",
            "wraps": "login",
            "config": {"services": services},
            "containers": containers,
        }
        return {"deployments": deployments, "bindings": {"/": {"deployment": "hpc", "service": "main"}}}
    return {"deployments": deployments, "bindings": {"/": "login"}}
