# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Airflow's own web application with this package's plugin, over a database of its own, in a process of its own.

``python -m tests.unit.web.served`` reads a command of JSON a line and answers each with a line.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
MARK = "#served "
VIEWER = "viewer"
TRIGGERER = "triggerer"
"""a user who may trigger DAGs, too"""
STRANGER = "stranger"
"""a user who may log in and see nothing"""


@dataclass(frozen=True)
class Answer:
    """``status`` 0: the connection was cut off while the body was sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        detail: str = json.loads(self.body)["detail"]
        return detail


class Served:
    """The web application of a process."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self._process = process
        self.home = home

    def ask(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
            lines.append(line)
        raise AssertionError("the process ended: " + "".join(lines)[-5000:])

    def cli(self, *arguments: str) -> tuple[int, str, list[str]]:
        """Run a command of ``airflow`` in the process: its exit code, stdout, and lines of stderr."""
        code, out, err = self.ask("cli", arguments=list(arguments))
        return code, out, err.splitlines()

    def stored(self, folder: str) -> dict[str, bytes]:
        """The objects below a folder of fsspec's store in memory, by their names."""
        return {name: base64.b64decode(text) for name, text in self.ask("objects", folder=folder).items()}

    def get(
        self, path: str, user: str | None = VIEWER, method: str = "GET", headers: dict[str, str] | None = None
    ) -> Answer:
        """:param user: who asks; None: somebody who has not logged in."""
        status, headers, body = self.ask("request", path=path, user=user, method=method, headers=headers or {})
        return Answer(status, headers, base64.b64decode(body))


@contextmanager
def served(home: Path) -> Iterator[Served]:
    """A web application with its files below ``home``."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of these tests, which is as long as it must be",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "viewer:viewer",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.unit.web.served"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield Served(process, home)
        assert process.stdin is not None
        process.stdin.close()


class _Server:
    def __init__(self) -> None:
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.utils.db import initdb
        from fastapi.testclient import TestClient

        initdb()
        self.client = TestClient(create_app("core"))
        roles = {VIEWER: "viewer", TRIGGERER: "user", STRANGER: None}
        users = [SimpleAuthManagerUser(username=name, role=role) for name, role in roles.items()]
        self.tokens = {user.username: get_auth_manager().generate_jwt(user) for user in users}

    def request(self, path: str, user: str | None, method: str, headers: dict[str, str]) -> Any:
        if user:
            headers["Authorization"] = f"Bearer {self.tokens[user]}"
        try:
            answer = self.client.request(method, path, headers=headers, follow_redirects=False)
        except OSError as error:
            # a server that raises while it sends cuts off the connection
            return 0, {}, base64.b64encode(str(error).encode()).decode()
        return answer.status_code, dict(answer.headers), base64.b64encode(answer.content).decode()

    def cpu_s(self) -> float:
        """Processor time that the web application has used."""
        return time.process_time()

    def has_imported(self, module: str) -> bool:
        return module in sys.modules

    def routes(self) -> list[Any]:
        from airflow_hybrid.web.app import app

        return [[getattr(route, "path", "?"), sorted(getattr(route, "methods", None) or ())] for route in app.routes]

    def run(self, file: str, dag_id: str, conf: dict[str, Any] | None = None) -> list[str]:
        """Run a DAG in this process: the id and the state of its run."""
        import runpy

        run = runpy.run_path(file)[dag_id].test(run_conf=conf)
        return [run.run_id, str(run.state)]

    def cli(self, arguments: list[str]) -> list[Any]:
        """What a command of ``airflow`` prints: exit code, stdout, stderr."""
        from airflow.cli.cli_parser import get_parser

        out, err, code = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                args = get_parser().parse_args(arguments)
                args.func(args)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
                print("" if isinstance(end.code, int | None) else end.code, file=err)
            out.flush()
        return [code, out.buffer.getvalue().decode(), err.getvalue()]

    def objects(self, folder: str) -> dict[str, str]:
        import fsspec

        store = fsspec.filesystem("memory")
        names = [path.removeprefix(f"{folder}/") for path in store.find(folder)]
        return {name: base64.b64encode(store.cat(f"{folder}/{name}")).decode() for name in names}

    def set_xcom(self, dag_id: str, run_id: str, key: str, value: Any) -> None:
        """What a user may do who may edit XComs; ``key``: of task ``outputs``, or ``task[map index].key``."""
        from airflow.models.xcom import XComModel

        task, _, name = key.rpartition(".")
        task_id, _, index = (task or "outputs").partition("[")
        map_index = int(index.rstrip("]") or -1)
        XComModel.set(name, value, dag_id=dag_id, task_id=task_id, run_id=run_id, map_index=map_index)

    def set_states(self, dag_id: str, run_id: str, run: str, tasks: str) -> None:
        """Let a run, and all its task instances, be in other states."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import update

        with create_session() as session:
            for table, state in ((DagRun, run), (TaskInstance, tasks)):
                session.execute(update(table).where(table.dag_id == dag_id, table.run_id == run_id).values(state=state))

    def copy_run(self, dag_id: str, run_id: str, count: int) -> None:
        """Copy a run, with its task instances and what they have reported of jobs."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import func, insert, select

        with create_session() as session:
            first = (session.scalar(select(func.max(DagRun.id))) or 0) + 1
            for table in (DagRun, TaskInstance, XComModel):
                query = select(*table.__table__.columns).where(table.dag_id == dag_id, table.run_id == run_id)
                if table is XComModel:
                    query = query.where(XComModel.key == "jobs")
                rows = [dict(row._mapping) for row in session.execute(query)]
                copies = [_copy(row, table.__name__, number, first) for number in range(count) for row in rows]
                if copies:
                    session.execute(insert(table.__table__), copies)

    def xcom(self, dag_id: str, run_id: str, key: str) -> Any:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        query = XComModel.get_many(run_id=run_id, key=key, task_ids="outputs", dag_ids=dag_id)
        with create_session() as session:
            (found,) = session.execute(query.with_only_columns(XComModel.value)).one()
        # those of a task are kept as JSON has them; those that are set by hand as JSON text
        return json.loads(found) if isinstance(found, str) and found.startswith(("{", '"')) else found

    def heartbeat(self, dag_id: str, run_id: str) -> None:
        """What running tasks and the scheduler's looks do: times of updates, and nothing else."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.sdk import timezone
        from airflow.utils.session import create_session
        from sqlalchemy import update

        now = timezone.utcnow()
        with create_session() as session:
            for model in (DagRun, TaskInstance):
                of_run = (model.dag_id == dag_id, model.run_id == run_id)
                session.execute(update(model).where(*of_run).values(updated_at=now))

    def why(self, dag_id: str, run_id: str) -> Any:
        from airflow.utils.session import create_session

        from airflow_hybrid.runs.answers.why import why_run
        from airflow_hybrid.runs.jobs import RunKey

        with create_session() as session:
            return [answer.to_json() for answer in why_run(session, RunKey(dag_id, run_id))]

    def hold(self, dag_id: str, run_id: str, task: dict[str, Any], **facts: Any) -> None:
        """Put a task of a run into a state that Airflow's scheduler would put it into."""
        from tests.unit.runs.holding import hold

        hold(dag_id, run_id, task, **facts)

    def overview(self, dag_id: str, run_id: str) -> Any:
        """The run as a whole, as pages and commands get it."""
        from airflow.utils.session import create_session

        from airflow_hybrid.runs.jobs import RunKey
        from airflow_hybrid.runs.overview import overview_of_run

        with create_session() as session:
            return overview_of_run(session, RunKey(dag_id, run_id)).to_json()

    def events(self, dag_id: str, run_id: str) -> list[Any]:
        """The events of assets that a run made: URI and extra of each."""
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(AssetEvent).where(AssetEvent.source_dag_id == dag_id, AssetEvent.source_run_id == run_id)
        with create_session() as session:
            return [[event.asset.uri, event.extra] for event in session.scalars(query)]


def _copy(row: dict[str, Any], table: str, number: int, first: int) -> dict[str, Any]:
    """A row of another run, with another number."""
    import uuid

    copy = {**row, "run_id": f"{row['run_id']} copy {first + number}"}
    if table == "DagRun":
        copy |= {"id": first + number, "logical_date": None, "partition_key": None}
    elif table == "TaskInstance":
        copy["id"] = uuid.uuid4()
    else:
        copy["dag_run_id"] = first + number
    return copy


def main() -> None:
    server = _Server()
    for line in sys.stdin:
        command, arguments = json.loads(line)
        print("\n" + MARK + json.dumps(getattr(server, command)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
