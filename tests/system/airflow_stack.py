# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A real Airflow of one's own: API server, scheduler, triggerer and DAG processor, and with CeleryExecutor its workers.

Each is a process of its own, as in production, with an ``AIRFLOW_HOME`` of its own, on a free port of 127.0.0.1, over
PostgreSQL or SQLite. Tests use it as a fixture (``conftest.py``), ``scripts/demo.py`` as the embedded Airflow, and a
developer by hand::

    python -m tests.system.airflow_stack --dags dags
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import psutil

from tests.system.airflow_api import AirflowApi
from tests.system.executors import Redis, Worker, chosen_executor
from tests.system.postgres import Postgres, preferred_database
from tests.system.processes import Processes, marked, stop_recorded

COMPONENTS = ("api-server", "scheduler", "triggerer", "dag-processor")
HEALTH = {"scheduler": "scheduler", "triggerer": "triggerer", "dag-processor": "dag_processor"}
USER = "admin"
PEOPLE = ("anna", "ben", "dora")
"""other users, with the same password"""

# Chosen for short waits on a small machine; a site's own Airflow needs none of it except, perhaps, the first.
SETTINGS = {
    # the Test button of a Connection, which is off by default
    "core.test_connection": "Enabled",
    "scheduler.scheduler_idle_sleep_time": "0.1",
    # a supervisor that misses the end of its task (a race: sockets close before the exit is seen) sleeps that long
    "workers.min_heartbeat_interval": "1",
    "scheduler.job_heartbeat_sec": "2",
    "scheduler.scheduler_heartbeat_sec": "2",
    "scheduler.scheduler_health_check_threshold": "30",
    "scheduler.catchup_by_default": "False",
    # a task whose worker was killed is noticed by its heartbeats
    "scheduler.task_instance_heartbeat_timeout": "30",
    "scheduler.task_instance_heartbeat_timeout_detection_interval": "5",
    "triggerer.job_heartbeat_sec": "2",
    "triggerer.triggerer_health_check_threshold": "15",
    "dag_processor.refresh_interval": "3",
    "dag_processor.bundle_refresh_check_interval": "1",
    "dag_processor.min_file_process_interval": "60",
    "dag_processor.parsing_processes": "1",
    "core.load_examples": "False",
    "core.parallelism": "4",
    "core.max_active_tasks_per_dag": "64",
    "core.min_serialized_dag_update_interval": "1",
    "core.simple_auth_manager_users": ",".join((f"{USER}:admin", *(f"{name}:op" for name in PEOPLE))),
    "api.workers": "1",
    "logging.colored_console_log": "False",
}


@dataclass
class AirflowStack:
    """The processes of one Airflow, their settings, and a client of its API.

    :param home: ``AIRFLOW_HOME``; made if it does not exist, used again (with its database) if it does.
    :param dags: the DAGs folder.
    :param database: ``postgres`` (a throw-away server) or ``sqlite`` (``<home>/airflow.db``, which is locked for
        everybody while somebody writes: calls of the API then fail now and then).
    :param path: folders put before the ``PATH`` that Airflow, and so every local job, sees.
    :param settings: ``section.option`` -> value, over :data:`SETTINGS`.
    :param environment: more variables for all components.
    :param port: of the API server; 0: any free one. The URLs by which the UI, the CLI and tasks find it follow.
    :param tell: called at the beginning of each step of starting, with its name.
    :param executor: Airflow's name of it; by default what the environment chooses (:func:`chosen_executor`).
    :param workers: of executors that have some.
    :param host: the address that the API server listens on.
    """

    home: Path
    dags: Path
    database: str = field(default_factory=preferred_database)
    path: Sequence[Path] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    tell: Callable[[str], None] = lambda step: None
    executor: str = field(default_factory=chosen_executor)
    workers: Sequence[Worker] = (Worker("worker"),)
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.home, self.dags = self.home.resolve(), self.dags.resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        self.port = self.port or free_port()
        self.url = f"http://{self.host}:{self.port}"
        self.password = self._keep("password", lambda: secrets.token_urlsafe(9))
        self.processes = Processes(self.home / "processes")
        self.api = AirflowApi(self.url, USER, self.password)
        self._postgres = Postgres() if self.database == "postgres" else None
        self._redis = Redis() if self.executor == "CeleryExecutor" else None
        if self.executor == "LocalExecutor":
            self.workers = ()
        self.components = (*COMPONENTS, *(worker.name for worker in self.workers))

    # --- life

    def start(self, timeout_s: float = 300.0) -> None:
        """Migrate the database, start all components, wait until all are healthy.

        :raises RuntimeError: if a component ends or is not healthy in time, with the end of its log.
        """
        if self._postgres:
            self.tell("PostgreSQL")
            self._postgres.start()
        if self._redis:
            self.tell("Redis")
            self._redis.start()
        self._configure()
        self.tell("the tables of Airflow's database")
        self.airflow("db", "migrate")
        self.tell(f"waiting for {', '.join(self.components)}")
        for name in COMPONENTS:
            self.processes.start(name, self._command(name), env=self.env, cwd=self.home)
        for worker in self.workers:
            self.processes.start(worker.name, worker.command, env={**self.env, **worker.environment}, cwd=self.home)
        self.wait_healthy(timeout_s=timeout_s)

    def stop(self) -> None:
        """Stop all components and what they left, and the database server; ``home`` stays."""
        self.api.close()
        self.processes.stop("api-server")  # last: the others and the tasks report to it while they end
        for server in (self._redis, self._postgres):
            if server:
                server.stop()

    def __enter__(self) -> AirflowStack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_healthy(self, *names: str, timeout_s: float = 180.0) -> None:
        """Wait until the API server answers and the components (default: all) have a fresh heartbeat.

        :raises RuntimeError: if one ended or is not healthy in time, with the end of its log.
        """
        wanted = names or tuple(HEALTH)
        end = time.monotonic() + timeout_s
        while True:
            for name in {"api-server", *wanted, *self.components[len(COMPONENTS) :]}:
                if not self.processes.running(name):
                    raise RuntimeError(f"{name} ended; end of its log:\n{self.processes.tail(name)}")
            try:
                health = self.api.health()
            except (httpx.HTTPError, ValueError):
                health = {}
            late = [
                name for name in wanted if health.get(HEALTH.get(name, name), "healthy" if health else "") != "healthy"
            ]
            if health and not late:
                return
            if time.monotonic() > end:
                logs = "\n".join(f"--- {name}\n{self.processes.tail(name)}" for name in late or ["api-server"])
                raise RuntimeError(f"not healthy after {timeout_s:g} s: {late or 'api-server'}\n{logs}")
            time.sleep(0.3)

    def kill(self, name: str, *, family: bool = True) -> None:
        """``kill -9`` of a component; see :meth:`Processes.kill`."""
        self.processes.kill(name, family=family)

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Start a component that has ended again."""
        self.processes.restart(name)
        if wait and name != "api-server":
            # a heartbeat of the one that was killed must not be taken for one of the new
            time.sleep(float({**SETTINGS, **self.settings}.get(f"{name}.job_heartbeat_sec", "2")) + 1)
        if wait:
            self.wait_healthy(*([name] if name in HEALTH else []))

    # --- use

    def airflow(self, *args: str, timeout_s: float = 300.0) -> str:
        """Run ``airflow ARGS`` against this Airflow; its stdout.

        :raises RuntimeError: on a non-zero exit code, with all it printed.
        """
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *args], env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"airflow {shlex.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def env(self) -> dict[str, str]:
        """The environment of all components, and of a shell that wants to use this Airflow."""
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "AIRFLOW__"))}
        python = Path(sys.executable).parent
        return {
            **outer,
            "AIRFLOW_HOME": str(self.home),
            "PATH": os.pathsep.join(map(str, [*self.path, python, outer.get("PATH", os.defpath)])),
            "NO_PROXY": f"127.0.0.1,localhost,{self.host}",
            "no_proxy": f"127.0.0.1,localhost,{self.host}",
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }

    def describe(self) -> dict[str, Any]:
        """What another process needs to use this Airflow."""
        pids = {name: self.processes.pid(name) for name in self.components if self.processes.running(name)}
        return {"url": self.url, "user": USER, "password": self.password, "home": str(self.home), "pids": pids}

    @property
    def database_pid(self) -> int | None:
        """The PostgreSQL server's; None with SQLite."""
        return self._postgres.pid if self._postgres else None

    def peak_rss_mib(self, name: str) -> float:
        """The highest resident memory (MiB, VmHWM) of any one process of a component's family that runs now."""
        root = psutil.Process(self.processes.pid(name))
        return max(peak_rss_mib(process.pid) for process in [root, *root.children(recursive=True)])

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of all components so far, ended tasks included; not of detached jobs."""
        total = 0.0
        for process in marked(self.processes.mark):
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])  # user, system, and those of children that were waited for
        return total

    def leftovers(self) -> list[str]:
        """Command lines of what still runs on behalf of this Airflow."""
        return [shlex.join(p.cmdline()) for p in marked(self.processes.mark) if p.status() != psutil.STATUS_ZOMBIE]

    # --- making

    def _command(self, name: str) -> list[str]:
        more = {
            "api-server": ["--host", self.host, "--port", str(self.port)],
            # all is on this machine: logs are read from their files
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }
        return [sys.executable, "-m", "airflow", name, *more.get(name, [])]

    def _configure(self) -> None:
        """Write ``airflow.cfg``, so that every ``airflow`` command with this ``AIRFLOW_HOME`` sees the same."""
        url = self._postgres.url if self._postgres else f"sqlite:///{self.home}/airflow.db"
        passwords = self.home / "passwords.json"
        values = {
            **SETTINGS,
            "core.dags_folder": str(self.dags),
            "core.fernet_key": self._keep("fernet", lambda: base64.urlsafe_b64encode(os.urandom(32)).decode()),
            "core.simple_auth_manager_passwords_file": str(passwords),
            "core.execution_api_server_url": f"{self.url}/execution/",
            "api.base_url": self.url,
            "api.host": self.host,
            "api.port": str(self.port),
            "api.secret_key": self._keep("secret", lambda: secrets.token_hex(32)),
            "api_auth.jwt_secret": self._keep("jwt", lambda: secrets.token_hex(32)),
            "database.sql_alchemy_conn": url,
            "logging.base_log_folder": str(self.home / "logs"),
            **({"database.sql_alchemy_conn_async": self._postgres.async_url} if self._postgres else {}),
            "core.executor": self.executor,
            **(self._redis.settings if self._redis else {}),
            **self.settings,
        }
        sections: dict[str, list[str]] = {}
        for key, value in values.items():
            section, _, option = key.partition(".")
            sections.setdefault(section, []).append(f"{option} = {value.replace('%', '%%')}")
        text = "\n\n".join("\n".join([f"[{section}]", *lines]) for section, lines in sections.items())
        _write_private(self.home / "airflow.cfg", text + "\n")
        _write_private(passwords, json.dumps(dict.fromkeys((USER, *PEOPLE), self.password)))

    def _keep(self, name: str, make: Any) -> str:
        """A secret made once per home."""
        file = self.home / "secrets" / name
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            _write_private(file, str(make()))
        return file.read_text()


def _write_private(file: Path, text: str) -> None:
    with open(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)


def peak_rss_mib(pid: int) -> float:
    """The highest resident memory (MiB, VmHWM; Linux) that a process has had; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)
    return int(found.group(1)) / 1024 if found else 0.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Keep an Airflow running until SIGINT or SIGTERM, then leave nothing of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.airflow_stack", description=main.__doc__)
    parser.add_argument("--dags", type=Path, required=True, help="DAGs folder")
    parser.add_argument("--home", type=Path, help="AIRFLOW_HOME to use and keep (default: a temporary one)")
    parser.add_argument("--database", choices=["postgres", "sqlite"], default=preferred_database())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", type=Path, action="append", default=[], help="put before PATH; may be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.OPTION=VALUE", dest="settings")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", dest="environment")
    parser.add_argument("--unpause", action="store_true", help="unpause all DAGs when they are first seen")
    args = parser.parse_args(argv)
    home = args.home or Path(tempfile.mkdtemp(prefix="airflow-hybrid-"))
    stop_recorded(home / "processes" / "pids.json")
    settings = dict(item.split("=", 1) for item in args.settings)
    if args.unpause:
        settings.setdefault("core.dags_are_paused_at_creation", "False")

    def on_signal(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    started = time.monotonic()
    stack = AirflowStack(
        home, args.dags, args.database, args.path, settings, dict(item.split("=", 1) for item in args.environment),
        args.port,
    )  # fmt: skip
    try:
        with stack:
            _write_private(home / "stack.json", json.dumps(stack.describe()))
            print(_greeting(stack, time.monotonic() - started), flush=True)
            while all(stack.processes.running(name) for name in stack.components):
                time.sleep(1)
            ended = [name for name in stack.components if not stack.processes.running(name)]
            print(f"ended: {ended}\n" + "\n".join(stack.processes.tail(name) for name in ended), file=sys.stderr)
            return 1
    finally:
        if args.home is None:
            shutil.rmtree(home, ignore_errors=True)


def _greeting(stack: AirflowStack, took_s: float) -> str:
    return f"""\
# Airflow is up ({took_s:.0f} s). Stop it with Ctrl-C or: kill {os.getpid()}
#   UI and API   {stack.url}   user {USER}   password {stack.password}
#   described in {stack.home}/stack.json
#   logs         {stack.processes.state}/*.log, {stack.home}/logs
#   token        curl -s -X POST {stack.url}/auth/token -H 'content-type: application/json' \\
#                  -d '{json.dumps({"username": USER, "password": stack.password})}'
export AIRFLOW_HOME={shlex.quote(str(stack.home))} PATH={shlex.quote(stack.env["PATH"])}"""


if __name__ == "__main__":
    sys.exit(main())
