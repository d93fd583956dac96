# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tests and the demo ask of Airflow's public REST API (v2), each in one call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
FINISHED = frozenset({"success", "failed"})
GRACE_S = 15.0


class AirflowApiError(RuntimeError):
    """The API answered with an error; the text holds the request and the answer."""


class AirflowApi:
    """A logged-in client.

    :param url: base URL of the API server, without a path.
    :param user, password: of the simple auth manager; exchanged for a JWT on the first call, and again when it expired.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        # trust_env=False: a proxy in the environment must not see requests to this machine
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, *, json: Any = None, params: Any = None, **headers: str) -> Any:
        """Call ``/api/v2`` + path; the answer's JSON.

        :raises AirflowApiError: on any status from 400 on.
        """
        answer = self._send(method, path, json, params, headers)
        if answer.status_code == 401:
            self._http.headers.pop("Authorization", None)
            answer = self._send(method, path, json, params, headers)
        if answer.status_code >= 400:
            raise AirflowApiError(f"{method} {path} {json or ''}: {answer.status_code} {answer.text[:2000]}")
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, body: Any, params: Any, headers: dict[str, str]) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            token = self._http.post("/auth/token", json=self._login)
            if token.status_code >= 400:
                raise AirflowApiError(f"POST /auth/token: {token.status_code} {token.text[:500]}")
            self._http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        return self._http.request(method, f"/api/v2{path}", json=body, params=params, headers=headers)

    def page(self, path: str) -> httpx.Response:
        """A page of the web server beside its API, as the user sees it."""
        self.call("GET", "/version")  # logs in
        return self._http.get(path)

    def health(self) -> dict[str, str]:
        """Component -> its status (``healthy``, ``unhealthy``) or ``unknown`` before its first heartbeat."""
        answer = self._http.get("/api/v2/monitor/health", timeout=5).json()
        return {name: (row or {}).get("status") or "unknown" for name, row in answer.items()}

    # --- DAGs

    def import_errors(self) -> dict[str, str]:
        """DAG file -> message."""
        rows = self.call("GET", "/importErrors")["import_errors"]
        return {row["filename"]: row["stack_trace"] for row in rows}

    def wait_dag(self, dag_id: str, timeout_s: float = 300.0) -> dict[str, Any]:
        """Wait until the DAG processor has found the DAG.

        :raises AirflowApiError: the file ``<dag_id>.py`` cannot be imported; with Airflow's message.
        :raises TimeoutError: with the import errors there are.
        """
        started = time.monotonic()

        def look() -> dict[str, Any] | None:
            try:
                return dict(self.call("GET", f"/dags/{dag_id}"))
            except AirflowApiError as error:
                if " 404 " not in str(error):
                    raise
            # at first, an error may still be that of an earlier version of the file
            for file, text in self.import_errors().items() if time.monotonic() - started > GRACE_S else ():
                if PurePath(file).stem == dag_id:
                    raise AirflowApiError(f"{file}: {text}")
            return None

        return wait_for(look, timeout_s, lambda: f"no DAG {dag_id}; import errors: {self.import_errors()}")

    def pause(self, dag_id: str, paused: bool = True) -> None:
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def unpause(self, dag_id: str, timeout_s: float = 300.0) -> None:
        """Wait for the DAG and unpause it."""
        self.wait_dag(dag_id, timeout_s)
        self.pause(dag_id, False)

    def add_connection(self, conn_id: str, conn_type: str, *, extra: dict[str, Any], **fields: Any) -> None:
        """Add an Airflow Connection; ``extra`` is its JSON."""
        body = {"connection_id": conn_id, "conn_type": conn_type, "extra": json.dumps(extra), **fields}
        self.call("POST", "/connections", json=body)

    # --- runs

    def trigger(
        self, dag_id: str, conf: dict[str, Any] | None = None, *, run_id: str | None = None,
        logical_date: str | None = None,
    ) -> str:  # fmt: skip
        """Start a run of an unpaused DAG; its run id."""
        body = {"conf": conf or {}, "logical_date": logical_date, **({"dag_run_id": run_id} if run_id else {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"])

    def wait_run(
        self, dag_id: str, run_id: str, timeout_s: float = 300.0, *, poll_s: float = 0.5,
        watch: Callable[[], object] = lambda: None,
    ) -> dict[str, Any]:  # fmt: skip
        """Wait until a run has ended, in whatever state.

        :param watch: called at each poll.
        :raises TimeoutError: with the state of its tasks.
        """

        def ended() -> dict[str, Any] | None:
            watch()
            run = self.run(dag_id, run_id)
            return run if run["state"] in FINISHED else None

        return wait_for(ended, timeout_s, lambda: f"{dag_id} {run_id}: {self.states(dag_id, run_id)}", poll_s)

    def succeed(self, dag_id: str, run_id: str, timeout_s: float = 300.0) -> dict[str, Any]:
        """Wait for a run and insist on its success.

        :raises AssertionError: with the states and the logs of what failed.
        """
        run = self.wait_run(dag_id, run_id, timeout_s)
        if run["state"] != "success":
            raise AssertionError(f"{dag_id} {run_id} {run['state']}\n{self.failures(dag_id, run_id)}")
        return run

    def failures(self, dag_id: str, run_id: str) -> str:
        """States of all tasks, and the end of the log of each that failed."""
        parts = [json.dumps(self.states(dag_id, run_id), indent=1)]
        for ti in self.tasks(dag_id, run_id):
            if ti["state"] == "failed":
                log = self.log(dag_id, run_id, ti["task_id"], ti["map_index"], ti["try_number"])
                parts.append(f"--- {ti['task_id']}[{ti['map_index']}] try {ti['try_number']}\n{log[-4000:]}")
        return "\n".join(parts)

    # --- task instances

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones included."""
        return list(self._pages(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances"))

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """``task`` or ``task[map index]`` -> state."""
        return {
            ti["task_id"] + (f"[{ti['map_index']}]" if ti["map_index"] >= 0 else ""): ti["state"] or "none"
            for ti in self.tasks(dag_id, run_id)
        }

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """An XCom's value."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path, params={"map_index": map_index, "deserialize": "true"})["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """A task's log as text, one line per event."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        params = {"map_index": map_index, "full_content": "true"}
        rows = self.call("GET", path, params=params, accept="application/json")["content"]
        return "\n".join(_log_line(row) for row in rows)

    def clear(self, dag_id: str, run_id: str, task_ids: list[Any] | None = None, *, downstream: bool = True) -> None:
        """Clear tasks (all of the run if None; ``[id, map_index]`` for one mapped instance): they run anew."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "include_downstream": downstream}
        if task_ids is not None:
            body["task_ids"] = task_ids
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task ``failed``, ``success`` or ``skipped``, as the button in the UI does."""
        instance = f"{task_id}/{map_index}" if map_index >= 0 else task_id
        self.call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{instance}", json={"new_state": state})

    def _pages(self, path: str, key: str, size: int = 100) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.call("GET", path, params={"limit": size, "offset": offset})
            yield from page[key]
            offset += size
            if offset >= page["total_entries"]:
                return


def _log_line(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    text = f"{str(row.get('timestamp') or '')[:19]} {row.get('level', '')} {row['event']}"
    details = row.get("error_detail")
    return f"{text}\n{json.dumps(details)}" if details else text


def wait_for(look: Callable[[], T | None], timeout_s: float, why: Callable[[], str], poll_s: float = 0.5) -> T:
    """Call ``look`` until it gives something true; give that.

    :raises TimeoutError: after ``timeout_s``, with ``why()``.
    """
    end = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s:g} s: {why()}")
        time.sleep(poll_s)
