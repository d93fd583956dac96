# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Helm's own library in a process of its own: ``python -P -m airflow_hybrid.sites.kubernetes.helm_process``.

The library is Go in a shared object. Its threads must not be in a process that forks tasks, an action can only be
stopped by ending its process, and values may be secrets, which must not be on a command line. So one line of JSON on
stdin is the request, and one on stdout the answer. When stdin ends, the caller is gone and this process exits, so that
it does not keep installing beside the next attempt.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WAIT_GONE_S = 180


def main() -> None:
    request: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints is not an answer
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    try:
        import helm_python as helm
    except ModuleNotFoundError:
        answer: dict[str, Any] = {"error": "", "kind": "missing"}
    else:
        try:
            answer = {"result": _ACTIONS[request["action"]](helm, request)}
        except (helm.HelmError, OSError) as error:
            answer = {"error": str(error), "kind": type(error).__name__}
    answers.write(json.dumps(answer))
    answers.flush()
    os._exit(0)  # skip the library's own shutdown


def _end_with_the_caller() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _render(helm: Any, request: Mapping[str, Any]) -> str:
    """The release's objects as YAML, without hooks; nothing is installed."""
    with helm.Config(**request["access"], namespace=request["namespace"]) as config:
        release = config.install(
            request["chart"], request["release"], _values(helm, request), dry_run="client", **_of(request)
        )
    return str(release.get("manifest") or "")


def _install(helm: Any, request: Mapping[str, Any]) -> None:
    """Install the release. One that is already deployed is kept; an incomplete one is removed first."""
    with helm.Config(**request["access"], namespace=request["namespace"]) as config:
        try:
            status = config.status(request["release"]).get("status")
        except helm.HelmNotFoundError:
            status = None
        if status == "deployed":
            return
        if status is not None:
            config.uninstall(request["release"], ignore_not_found=True, wait="watcher", timeout=WAIT_GONE_S)
        config.install(
            request["chart"], request["release"], _values(helm, request), wait="hookOnly", timeout=request["timeout_s"],
            labels=request["labels"], create_namespace=request["create_namespace"], description=request["description"],
            **_of(request),
        )  # fmt: skip


def _uninstall(helm: Any, request: Mapping[str, Any]) -> None:
    with helm.Config(**request["access"], namespace=request["namespace"]) as config:
        config.uninstall(request["release"], ignore_not_found=True, wait="watcher", timeout=WAIT_GONE_S)


def _of(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "chart_repo_url": request["repo"],
        "chart_version": request["version"],
        "plain_http": request["plain_http"],
    }


def _values(helm: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """All values merged; later ones take precedence, in Helm's order (``helm install --help``)."""
    merged: dict[str, Any] = {}
    for file in request["values_files"]:
        _merge(merged, helm.values_from_yaml(Path(file).read_text(encoding="utf-8")))
    _merge(merged, request["values"])
    for key, parse in (
        ("set_json", helm.parse_set_json),
        ("set", helm.parse_set_string),
        ("set_string", helm.parse_set_string_values),
        ("set_file", helm.parse_set_file),
        ("set_literal", helm.parse_set_literal),
    ):
        for expression in request[key]:
            _merge(merged, parse(expression))
    return merged


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


_ACTIONS = {"render": _render, "install": _install, "uninstall": _uninstall}


if __name__ == "__main__":
    main()
