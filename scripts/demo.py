# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Run the examples on an embedded Airflow: no root, no cluster, nothing outside this clone but the sites' workdirs.

``python -m scripts.demo`` runs ``hello`` and a small ``claire``; ``--ui`` only keeps the Airflow running; ``--stop``
ends what an interrupted demo left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_hybrid.operators.values import OUTPUTS_TASK
from scripts.telling import Telling
from tests.system.airflow_api import AirflowApiError
from tests.system.airflow_stack import USER, AirflowStack, free_port
from tests.system.processes import stop_recorded

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo" / "airflow"
EXAMPLES: dict[str, dict[str, Any]] = {"hello": {}, "claire": {}}
TIMEOUT_S = 900.0
USUAL_PORT = 8080
MAX_PORT = 65535
SHOWN = {"running", "deferred", "success", "failed", "skipped", "upstream_failed", "up_for_retry"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="run no example; keep the Airflow running until Ctrl-C")
    parser.add_argument("--stop", action="store_true", help="end what an interrupted demo left behind")
    parser.add_argument("--port", type=_port_number, help="of the web UI and API (default: 8080, or any free one)")
    parser.add_argument("--home", type=Path, default=HOME, help="AIRFLOW_HOME (default: .demo/airflow in this clone)")
    args = parser.parse_args()
    if left := stop_recorded(args.home / "processes" / "pids.json"):
        print(f"ended an earlier demo: {', '.join(left)}")
    if args.stop:
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    command = "make ui" if args.ui else "make demo"
    try:
        port = choose_port(args.port, command)
    except PortError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    try:
        good = _run(
            AirflowStack(args.home, ROOT / "dags", "sqlite", port=port, executor="LocalExecutor"), only_ui=args.ui
        )
    except RuntimeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print("`make ui` starts it again, with these runs, to look at in a browser; `make clean` removes all.")
    return 0 if good else 1


def _run(stack: AirflowStack, only_ui: bool) -> bool:
    """Start Airflow, show its steps, run the examples, and keep it if somebody is there to look at it."""
    started, good = time.monotonic(), False
    try:
        with contextlib.ExitStack() as running:
            with Telling() as telling:
                print("starting Airflow:", flush=True)
                stack.tell = telling.tell
                running.enter_context(stack)
            print(f"Airflow is up after {time.monotonic() - started:.0f} s: {_ui(stack)}\n", flush=True)
            good = only_ui or all([run_example(stack, name, conf) for name, conf in EXAMPLES.items()])
            if only_ui or sys.stdin.isatty():
                print(f"Airflow still runs: {_ui(stack)}\nCtrl-C ends it.", flush=True)
                while True:
                    time.sleep(1)
    except KeyboardInterrupt:
        print("\nAirflow is stopped.")
    return good


def run_example(stack: AirflowStack, name: str, conf: dict[str, Any]) -> bool:
    """Run one example, show its tasks as they change and its results at the end; True if it succeeded."""
    api = stack.api
    try:
        api.unpause(name)
    except (AirflowApiError, TimeoutError) as error:
        print(f"{name}: not loaded: {error}", file=sys.stderr)
        return False
    run_id = api.trigger(name, conf)
    started = time.monotonic()
    print(f"{name}: {stack.url}/dags/{name}/runs/{run_id}", flush=True)
    seen: dict[str, str] = {}

    def show() -> None:
        for task, state in api.states(name, run_id).items():
            if seen.get(task) != state:
                seen[task] = state
                if state in SHOWN:
                    print(f"  {time.monotonic() - started:6.1f} s  {task:<34} {state}", flush=True)

    run = api.wait_run(name, run_id, TIMEOUT_S, poll_s=1.0, watch=show)
    show()
    print(f"{name}: {run['state']} after {time.monotonic() - started:.0f} s")
    if run["state"] != "success":
        print(api.failures(name, run_id), file=sys.stderr)
        return False
    for port, path in results(api.xcom(name, run_id, OUTPUTS_TASK)):
        print(f"  {port}: {path}")
    print(flush=True)
    return True


def results(outputs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Port and path of each output file; of long lists only the first."""
    for port, value in outputs.items():
        items = value if isinstance(value, list) else [value]
        files = [item for item in items if isinstance(item, dict) and "location" in item]
        if not files:
            yield port, json.dumps(value)[:200]
            continue
        more = f"   (and {len(files) - 1} more there)" if len(files) > 1 else ""
        yield port, unquote(urlsplit(files[0]["location"]).path) + more


def _ui(stack: AirflowStack) -> str:
    return f"{stack.url}  user {USER}, password {stack.password}"


class PortError(Exception):
    """The port that was asked for cannot be used; the message says what to do."""


def _port_number(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to {MAX_PORT}")


def choose_port(wanted: int | None, command: str) -> int:
    """The port that was asked for, or the usual one, or any free one if that is in use.

    :param command: for messages.
    :raises PortError: the port that was asked for cannot be used.
    """
    port = USUAL_PORT if wanted is None else wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = "in use" if error.errno == errno.EADDRINUSE else f"not available ({error.strerror})"
        else:
            return port
    if wanted is None:
        free = free_port()
        print(f"port {port} is {reason}: {free} is taken. `{command} PORT=...` chooses one.", flush=True)
        return free
    raise PortError(
        f"port {port} of this machine is {reason}; nothing was started\n"
        f"  -> give another one (`{command} PORT={free_port()}`), or end the program that listens there"
        f" (`ss -ltnp 'sport = :{port}'` shows it)"
    )


def _interrupt(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(f"signal {number}, pid {os.getpid()}")


if __name__ == "__main__":
    sys.exit(main())
