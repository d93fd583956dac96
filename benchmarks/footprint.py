# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What runs leave in Airflow's database, and how often their Connections are looked up in a secrets backend.

    TESTBED_DIR=... python -m benchmarks.footprint --site cloud --jobs 10 1000 10000

A scatter at a site of the test bed that is up, in an Airflow of its own (PostgreSQL, one triggerer). The Connection is
in a secrets backend of local files only, which notes each look-up; or (``--secrets environment``) in a variable.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy
import yaml

from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import DOCUMENTS, ROOT, SYSTEM_PATH
from tests.testbed.fixture import Testbed

CONNECTION = "only_in_the_backend"
DAG = "footprint"
SIZES = """\
SELECT key, count(*), sum(octet_length(value::text)), max(octet_length(value::text)) FROM xcom
WHERE run_id = :run GROUP BY key ORDER BY key
"""
DEFERRED = "SELECT count(*), coalesce(max(octet_length(kwargs)), 0) FROM trigger"
INSTANCES = "SELECT count(*) FROM task_instance WHERE run_id = :run"


class Bench:
    """An Airflow with one DAG, whose jobs run at a site."""

    def __init__(self, folder: Path, site: str, chunks: int, secrets: str) -> None:
        testbed = Testbed(Path(os.environ["TESTBED_DIR"]))
        there = testbed.sites[site]
        self._notes = folder / "look-ups"
        self._notes.touch()
        connections = folder / "connections.json"
        extra = {"key_file": str(there.key), "host_key": there.host_key}
        login = {"conn_type": "ssh", "host": there.host, "login": there.user, "port": there.port, "extra": extra}
        connections.write_text(json.dumps({CONNECTION: login}))
        connections.chmod(0o600)
        dags = folder / "dags"
        shutil.copytree(DOCUMENTS, dags)
        (dags / f"{DAG}.py").write_text(f"from airflow_hybrid import load_dags\n\nload_dags('{DAG}.yml', globals())\n")
        (dags / f"{DAG}.yml").write_text(yaml.safe_dump(_hybrid_file(there.scheduler, chunks)))
        settings = {
            "secrets.backend": "benchmarks.backends.counting_secrets.CountingBackend",
            "secrets.backend_kwargs": json.dumps({"log": str(self._notes), "connections_file_path": str(connections)}),
        }
        environment = {"PYTHONPATH": str(ROOT)}
        if secrets == "environment":
            environment[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = json.dumps(login)
            settings = {}
        self.airflow = AirflowStack(
            folder / "airflow", dags, path=SYSTEM_PATH, settings=settings, environment=environment
        )

    def measure(self, jobs: int) -> None:
        api, database = self.airflow.api, self._database()
        api.unpause(DAG)
        before = len(self._notes.read_text().splitlines())
        started = time.monotonic()
        run = api.trigger(DAG, {"words": [f"word{number:05d}" for number in range(jobs)]})
        deferred = [(0, 0)]

        def watch() -> None:
            with database.connect() as session:
                count, largest = session.execute(sqlalchemy.text(DEFERRED)).one()
            deferred.append((count, largest))

        api.wait_run(DAG, run, 840, watch=watch)
        api.succeed(DAG, run)
        took_s = time.monotonic() - started
        with database.connect() as session:
            sizes = session.execute(sqlalchemy.text(SIZES), {"run": run}).all()
            instances = session.execute(sqlalchemy.text(INSTANCES), {"run": run}).scalar_one()
        looked_up = Counter(self._notes.read_text().splitlines()[before:])
        rows, size = sum(row[1] for row in sizes), sum(row[2] for row in sizes)
        print(f"{jobs} jobs: {took_s:.0f} s, {instances} task instances, {rows} XComs of {size:,} bytes in all")
        for key, count, total, largest in sizes:
            print(f"      {key}: {count} rows, {total:,} bytes, the largest {largest:,}")
        count, largest = max(deferred), max(size for _, size in deferred)
        print(f"      deferred at a time: {count[0]}; the largest specification (encrypted): {largest:,} bytes")
        print(f"      peak RSS of the triggerer so far: {self.airflow.peak_rss_mib('triggerer'):.0f} MiB")
        for line, number in sorted(looked_up.items()):
            print(f"      looked up {number} times: {line}")
        sys.stdout.flush()

    def _database(self) -> Any:
        for line in (self.airflow.home / "airflow.cfg").read_text().splitlines():
            if line.startswith("sql_alchemy_conn = "):
                return sqlalchemy.create_engine(line.partition(" = ")[2])
        raise RuntimeError("airflow.cfg names no database")


def _hybrid_file(scheduler: str | None, chunks: int) -> dict[str, Any]:
    login: dict[str, Any] = {"type": "ssh", "config": {"conn_id": CONNECTION}}
    deployments = {"site": login}
    if scheduler:
        deployments = {"login": login, "site": {"type": scheduler, "config": {}, "wraps": "login"}}
    bindings = [{"step": "/echo", "target": "site", "max_mapped": chunks}]
    workflow = {"type": "cwl", "config": {"file": "scatter_echo.cwl"}, "bindings": bindings}
    return {"version": "v1.0", "workflows": {DAG: workflow}, "deployments": deployments}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.footprint", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--site", default="cloud", help="a site of the test bed (TESTBED_DIR); default cloud")
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 1000], help="of each run (default 10 1000)")
    parser.add_argument("--secrets", choices=["files", "environment"], default="files", help="where the Connection is")
    parser.add_argument("--chunks", type=int, default=16, help="most tasks of the scatter (default 16)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airflow-hybrid-footprint-") as name:
        bench = Bench(Path(name), args.site, args.chunks, args.secrets)
        with bench.airflow:
            for jobs in args.jobs:
                bench.measure(jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
