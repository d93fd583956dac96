# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Executors of the Airflows of the tests: LocalExecutor, or CeleryExecutor with a throw-away Redis."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.processes import end_server

EXECUTORS = {"local": "LocalExecutor", "celery": "CeleryExecutor"}
CHOICE = "AIRFLOW_EXECUTOR"
"""the environment variable that chooses for all Airflows of the tests: a key or a value of :data:`EXECUTORS`"""
INSTALL_CELERY = "apt-get install redis-server, and `uv sync --frozen --inexact --extra celery` (make does that)"


def chosen_executor() -> str:
    """What the environment chooses; by default LocalExecutor.

    :raises ValueError: it chooses something else than :data:`EXECUTORS` have.
    """
    name = os.environ.get(CHOICE, "") or "local"
    if name in EXECUTORS.values():
        return name
    if name not in EXECUTORS:
        raise ValueError(f"{CHOICE}={name}: choose one of {', '.join(EXECUTORS)}")
    return EXECUTORS[name]


def missing_for_celery() -> list[str]:
    """What this machine lacks for CeleryExecutor; empty if it has all."""
    lacks = [] if shutil.which("redis-server") else ["redis-server"]
    if importlib.util.find_spec("airflow.providers.celery") is None:
        lacks.append("apache-airflow-providers-celery")
    return lacks


@dataclass(frozen=True)
class Worker:
    """A worker of an Airflow.

    :ivar name: of the process, and of the worker for the executor.
    :ivar queues: of Airflow's tasks.
    :ivar within: words put before its command; they begin a program that runs the command in its place.
    :ivar environment: variables over those of the Airflow.
    :ivar program: words after ``airflow``, the last one before the name.
    """

    name: str
    queues: Sequence[str] = ("default",)
    within: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = ("celery", "worker", "--skip-serve-logs", "--celery-hostname")

    @property
    def command(self) -> list[str]:
        words = [*self.within, sys.executable, "-m", "airflow", *self.program, self.name]
        return [*words, "--queues", ",".join(self.queues), "--concurrency", "4"]


class Redis:
    """A Redis server of one's own: Debian's program, on a free port of 127.0.0.1, with a password."""

    def __init__(self) -> None:
        self._password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="airflow-hybrid-redis-", dir="/tmp"))
        self._port = 0
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it accepts connections.

        :raises RuntimeError: with the server's own words.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError(f"CeleryExecutor needs redis-server; to get it: {INSTALL_CELERY}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        log, config = self._folder / "server.log", self._folder / "redis.conf"
        lines = [
            f"port {self._port}",
            "bind 127.0.0.1",
            f"requirepass {self._password}",
            'save ""',
            f"dir {self._folder}",
        ]
        config.write_text("\n".join(lines) + "\n")
        with log.open("wb") as out:
            argv = [program, str(config)]
            self._server = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        end = time.monotonic() + 60
        while not self._accepts():
            if self._server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Redis did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def url(self, database: int) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def settings(self) -> dict[str, str]:
        """Airflow's settings for CeleryExecutor with this broker."""
        return {
            "celery.broker_url": self.url(0),
            "celery.result_backend": self.url(1),
            "celery.sync_parallelism": "1",
            "celery_broker_transport_options.visibility_timeout": "86400",
        }

    def stop(self) -> None:
        """End the server and remove its files."""
        if self._server is not None:
            end_server(self._server)
            self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)
