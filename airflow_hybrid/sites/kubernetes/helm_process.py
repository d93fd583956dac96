# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Helm's own library in a process of its own: ``python -P -m airflow_hybrid.sites.kubernetes.helm_process``.

The library is Go in a shared object. Its threads must not be in a process that forks tasks, an action can only be
ended by ending its process, and values may be secrets, which no command line may show. So: one line of JSON on stdin
says what to do, one on stdout what came of it. When stdin ends, whoever asked is gone, and so is this process: nothing
goes on installing behind the back of the next attempt.
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
    asked: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints is not an answer
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    try:
        import helm_python as helm
    except ModuleNotFoundError:
        answer: dict[str, Any] = {"error": "", "kind": "missing"}
    else:
        try:
            answer = {"result": _ACTIONS[asked["action"]](helm, asked)}
        except (helm.HelmError, OSError) as error:
            answer = {"error": str(error), "kind": type(error).__name__}
    answers.write(json.dumps(answer))
    answers.flush()
    os._exit(0)  # without the library's own farewells


def _end_with_the_caller() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _render(helm: Any, asked: Mapping[str, Any]) -> str:
    """The release's objects as YAML, hooks left out; nothing is installed."""
    with helm.Config(**asked["access"], namespace=asked["namespace"]) as config:
        made = config.install(asked["chart"], asked["release"], _values(helm, asked), dry_run="client", **_of(asked))
    return str(made.get("manifest") or "")


def _install(helm: Any, asked: Mapping[str, Any]) -> None:
    """Install the release; one that is there and deployed stays, one that was left half-way goes first."""
    with helm.Config(**asked["access"], namespace=asked["namespace"]) as config:
        try:
            status = config.status(asked["release"]).get("status")
        except helm.HelmNotFoundError:
            status = None
        if status == "deployed":
            return
        if status is not None:
            config.uninstall(asked["release"], ignore_not_found=True, wait="watcher", timeout=WAIT_GONE_S)
        config.install(
            asked["chart"], asked["release"], _values(helm, asked), wait="hookOnly", timeout=asked["timeout_s"],
            labels=asked["labels"], create_namespace=asked["create_namespace"], description=asked["description"],
            **_of(asked),
        )  # fmt: skip


def _uninstall(helm: Any, asked: Mapping[str, Any]) -> None:
    with helm.Config(**asked["access"], namespace=asked["namespace"]) as config:
        config.uninstall(asked["release"], ignore_not_found=True, wait="watcher", timeout=WAIT_GONE_S)


def _of(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "chart_repo_url": asked["repo"],
        "chart_version": asked["version"],
        "plain_http": asked["plain_http"],
    }


def _values(helm: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """All values, the later before the earlier; the order is Helm's (``helm install --help``)."""
    merged: dict[str, Any] = {}
    for file in asked["values_files"]:
        _merge(merged, helm.values_from_yaml(Path(file).read_text(encoding="utf-8")))
    _merge(merged, asked["values"])
    for key, parse in (
        ("set_json", helm.parse_set_json),
        ("set", helm.parse_set_string),
        ("set_string", helm.parse_set_string_values),
        ("set_file", helm.parse_set_file),
        ("set_literal", helm.parse_set_literal),
    ):
        for expression in asked[key]:
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
