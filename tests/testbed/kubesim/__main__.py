# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``python -m kubesim``: serves until it is ended, and takes its pods along."""

from __future__ import annotations

import argparse
import asyncio
import base64
import pathlib
import signal
import ssl
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from .cluster import Cluster
from .controllers.deployments import DeploymentController
from .controllers.jobs import JobController
from .node import podman
from .objects import DEPLOYMENTS, JOBS, PODS, Key
from .server.api import Api


@dataclass(frozen=True)
class Tls:
    """Files of https, in PEM."""

    certificate: str
    key: str
    authority: str


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="kubesim")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--state", required=True, type=pathlib.Path, help="folder for volumes")
    parser.add_argument("--kubeconfig", required=True, type=pathlib.Path, help="file to write when ready")
    parser.add_argument(
        "--tls", nargs=3, metavar=("CERT", "KEY", "CA"), help="serve https; CA goes into the kubeconfig"
    )
    parser.add_argument("--token", help="refuse requests without this bearer token")
    parser.add_argument(
        "--backoff", type=float, default=10.0, help="seconds until a failed pod of a Job is replaced first"
    )
    return parser.parse_args()


def cluster_at(root: pathlib.Path, backoff_s: float) -> Cluster:
    """A cluster with its controllers."""

    async def run_job(key: Key) -> None:
        await JobController(cluster, key, backoff_s).run()

    async def run_deployment(key: Key) -> None:
        await DeploymentController(cluster, key).run()

    root.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(root)
    cluster.controllers |= {JOBS: run_job, DEPLOYMENTS: run_deployment}
    cluster.spawn(cluster.kubelet.follow())
    return cluster


def kubeconfig(server: str, tls: Tls | None, token: str | None) -> str:
    """What clients are told."""
    cluster = {"server": server}
    if tls is not None:
        authority = pathlib.Path(tls.authority).read_bytes()
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    context = {"cluster": "kubesim", "user": "u", "namespace": "default"}
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kubesim",
        "clusters": [{"name": "kubesim", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token or "t"}}],
        "contexts": [{"name": "kubesim", "context": context}],
    }
    text: str = yaml.safe_dump(config)
    return text


def context_of(tls: Tls | None) -> ssl.SSLContext | None:
    """For the server; None: http."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    return context


async def until_ended() -> None:
    """Wait for a signal."""
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    await end.wait()


async def main() -> None:
    """Serve."""
    options = arguments()
    tls = None if options.tls is None else Tls(*options.tls)
    cluster = cluster_at(options.state, options.backoff)
    runner = web.AppRunner(Api(cluster, options.token).application(), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, options.host, options.port, ssl_context=context_of(tls)).start()
    port = runner.addresses[0][1]
    server = f"{'http' if tls is None else 'https'}://{options.host}:{port}"
    options.kubeconfig.write_text(kubeconfig(server, tls, options.token))
    await until_ended()
    for key in cluster.store.select(PODS):
        await podman.remove_pod(key)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
