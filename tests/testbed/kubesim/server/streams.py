# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What comes out of containers and goes into them: logs, exec and attach."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping

from aiohttp import WSCloseCode, WSMsgType, web

from ..node import podman
from ..objects import ApiError, Key, KubeObject, containers_of
from ..storage import Store
from .requests import is_set

STDIN, OUT, ERR, STATUS, CLOSE = 0, 1, 2, 3, 255
"""channels of a websocket: https://kubernetes.io/docs/reference/using-api/ (v4 and v5.channel.k8s.io)"""


def _container(store: Store, key: Key, query: Mapping[str, str]) -> str:
    """The container that a query names, or else the first; by podman's name."""
    names = [container["name"] for container in containers_of(store.get(key))]
    name = query.get("container") or names[0]
    if name not in names:
        raise ApiError(400, "BadRequest", f"container {name} is not valid for pod {key.name}")
    return podman.container_name(key, name)


async def logs(store: Store, request: web.Request, key: Key) -> web.StreamResponse:
    """The log of a container, perhaps followed until the client goes.

    :raises ApiError: it has none yet.
    """
    container = _container(store, key, request.query)
    if not await podman.has_container(container):
        raise ApiError(400, "BadRequest", f'container in pod "{key.name}" is waiting to start: ContainerCreating')
    process = await asyncio.create_subprocess_exec(
        "podman", "logs", *_log_options(request.query), container, stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    try:
        while data := await process.stdout.read(65536):
            await response.write(data)
    except ConnectionError:
        pass  # the client went away
    finally:
        _kill(process)
        await process.wait()
    return response


def _log_options(query: Mapping[str, str]) -> list[str]:
    options = []
    if is_set(query, "follow"):
        options.append("-f")
    if query.get("tailLines"):
        options += ["--tail", query["tailLines"]]
    if is_set(query, "timestamps"):
        options.append("-t")
    if query.get("sinceSeconds"):
        options += ["--since", f"{query['sinceSeconds']}s"]
    if query.get("sinceTime"):
        options += ["--since", query["sinceTime"]]
    return options


async def attached(store: Store, request: web.Request, key: Key, part: str) -> web.StreamResponse:
    """exec and attach, in the channel protocol of Kubernetes over a websocket.

    :param part: ``exec`` or ``attach``.
    :raises ApiError: the client cannot do that, or the container does not run.
    """
    container = _container(store, key, request.query)
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise ApiError(400, "BadRequest", "Upgrade request required (websocket only; SPDY is not served)")
    socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"), max_msg_size=0)
    await socket.prepare(request)
    has_stdin = is_set(request.query, "stdin")
    if part == "exec":
        # not by `podman exec`, which loses output of commands that do not read their stdin
        running = _running_id(store.get(key), request.query.get("container"))
        argv = ["runc", "exec", running, *request.query.getall("command", [])]
    else:
        argv = ["podman", "attach", "--sig-proxy=false", *([] if has_stdin else ["--no-stdin"]), container]
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=PIPE if has_stdin else DEVNULL, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    receiving = asyncio.create_task(_receive(socket, process))
    await asyncio.gather(_send(socket, OUT, process.stdout), _send(socket, ERR, process.stderr))
    status = _status(await process.wait())
    with contextlib.suppress(Exception):  # whatever a connection raises that has gone meanwhile
        await socket.send_bytes(bytes([STATUS]) + json.dumps(status).encode())
        await socket.close(code=WSCloseCode.OK)
    receiving.cancel()
    return socket


async def _send(socket: web.WebSocketResponse, channel: int, stream: asyncio.StreamReader) -> None:
    while data := await stream.read(32768):
        await socket.send_bytes(bytes([channel]) + data)


async def _receive(socket: web.WebSocketResponse, process: Process) -> None:
    """Hand on what the client sends, and end the process when the client goes."""
    async for message in socket:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT) or not message.data:
            continue
        data = message.data.encode() if message.type == WSMsgType.TEXT else message.data
        if process.stdin is None:
            continue
        if data[0] == STDIN:
            process.stdin.write(data[1:])
            await process.stdin.drain()
        elif data[0] == CLOSE:
            process.stdin.close()  # of one direction only: v5
    _kill(process)


def _kill(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # not process.kill(): its poll() steals the exit status


def _running_id(pod: KubeObject, container: str | None) -> str:
    name = container or pod["spec"]["containers"][0]["name"]
    for status in pod["status"].get("containerStatuses") or []:
        if status["name"] == name and "running" in status.get("state", {}):
            return str(status["containerID"]).removeprefix("podman://")
    raise ApiError(400, "BadRequest", f"container not running in pod {pod['metadata']['name']}")


def _status(code: int) -> KubeObject:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
