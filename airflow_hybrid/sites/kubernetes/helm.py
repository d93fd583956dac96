# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One release of a chart: rendered, installed, uninstalled, by Helm's library in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.errors import ConfigError, DeployError, HostKeyError, HostUnreachableError
from airflow_hybrid.interpreter import module_command, module_environment
from airflow_hybrid.printable import readable
from airflow_hybrid.sites.hosts.processes import ChildProcess, start_process
from airflow_hybrid.sites.kubernetes.cluster import Cluster

PROGRAM = "airflow_hybrid.sites.kubernetes.helm_process"
SLACK_S = 240.0
"""added to the release's own time limit, because a failed release is removed first"""
_OF_THE_CHART = {
    "HelmChartInvalidError", "HelmChartLoadError", "HelmInvalidArgError", "HelmRenderError", "HelmValuesError",
    "OSError", "FileNotFoundError", "PermissionError", "HelmIOError", "UnicodeDecodeError", "IsADirectoryError",
}  # fmt: skip
_NETWORK = ("dial tcp", "no such host", "connection refused", "i/o timeout", "TLS handshake timeout", "EOF")


class Release:
    """One release in one namespace.

    :param config: ``deployments.<name>.config``.
    :param labels: of the release's own record (a Secret in its namespace).
    """

    def __init__(self, cluster: Cluster, name: str, config: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        self.cluster = cluster
        self.name = name
        self.config = config
        self.labels = labels
        self.timeout_s = float(config.get("timeout") or 600)

    async def render(self) -> str:
        """The objects as YAML.

        :raises ConfigError: the chart, its values or a template are wrong.
        """
        return str(await self._run("render"))

    async def install(self) -> None:
        """Install it, with hooks, unless it exists already.

        :raises DeployError: the cluster refuses an object, or a hook failed.
        """
        await self._run("install")

    async def uninstall(self) -> None:
        """Uninstall it, and wait until its objects are gone; it is no error if it does not exist."""
        await self._run("uninstall")

    async def _request(self, action: str) -> dict[str, Any]:
        """The request for the process with Helm's library."""
        config = self.config
        await self.cluster.connect()
        return {
            "action": action,
            "access": await self.cluster.access(),
            "namespace": self.cluster.namespace,
            "release": self.name,
            "chart": config["chart"],
            "repo": config.get("repo"),
            "version": config.get("chartVersion"),
            "plain_http": bool(config.get("plainHttp")),
            "values_files": config.get("yamlValues") or [],
            "values": config.get("values") or {},
            "set": config.get("commandLineValues") or [],
            "set_string": config.get("stringValues") or [],
            "set_file": config.get("fileValues") or [],
            "set_json": config.get("setJson") or [],
            "set_literal": config.get("setLiteral") or [],
            "labels": {**_labels(config.get("labels")), **self.labels},
            "description": config.get("description"),
            "create_namespace": bool(config.get("createNamespace")),
            "timeout_s": int(self.timeout_s),
        }

    async def _run(self, action: str) -> Any:
        request = await self._request(action)
        # the library needs a home, a path for login plugins and KUBECONFIG; nothing that is Airflow's own
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW__")}
        process = await start_process(module_command(PROGRAM), env=module_environment(environment))
        try:
            out, err = await asyncio.wait_for(_talk(process, request), self.timeout_s + SLACK_S)
        except asyncio.TimeoutError:
            raise DeployError(
                f"helm {action} of {self.name} did not end within {self.timeout_s + SLACK_S:g} s", where=self._where,
                hint="for more time, set `config.timeout` (seconds)",
            ) from None  # fmt: skip
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            process.close()
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            tail = readable(err[-1500:]).strip()
            raise DeployError(f"helm {action} of {self.name} broke off: {tail}", where=self._where) from None
        if "error" in answer:
            raise self._error(action, str(answer["kind"]), str(answer["error"]).strip())
        return answer["result"]

    @property
    def _where(self) -> str:
        return f"{self.cluster.title}: {self.config['chart']}"

    def _error(self, action: str, kind: str, message: str) -> Exception:
        where = self._where
        if kind == "missing":
            return ConfigError(
                "Helm deployments need the package helm-python-sdk", hint="pip install 'airflow-hybrid[helm]'"
            )
        if "x509" in message or "certificate" in message:
            return HostKeyError(
                f"the cluster's certificate is not the expected one: {message}", where=where,
                hint="the kubeconfig's certificate-authority must be that of this cluster (or, of a registry, its own)",
            )  # fmt: skip
        if kind == "HelmKubeError" or any(word in message for word in _NETWORK):
            return HostUnreachableError(f"Helm did not reach the cluster or the registry: {message}", where=where)
        if kind in _OF_THE_CHART or action == "render":
            return ConfigError(
                f"the chart cannot be installed: {message}", where=where, hint="see `chart` and the values"
            )
        return DeployError(
            f"helm {action}: {message}", where=where, retryable=kind != "HelmReleaseError" or "timed out" in message,
            hint="check the chart's templates and values, and what the namespace allows",
        )  # fmt: skip


async def _talk(process: ChildProcess, request: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Send the request, and keep stdin open until the answer arrives: closing it would end the process."""
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(json.dumps(request).encode() + b"\n")
    await process.stdin.drain()
    return await asyncio.gather(process.stdout.read(), process.stderr.read())


def _labels(text: str | None) -> dict[str, str]:
    """``key1=val1,key2=val2``"""
    pairs = (part.partition("=") for part in (text or "").split(",") if part)
    return {key.strip(): value.strip() for key, _, value in pairs}
