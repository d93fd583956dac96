# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run in the process of ``airflow hybrid run`` has the Airflow that it has in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.runner import same_process

CALLERS = """\
[core]
dags_folder = /srv/dags
executor = CeleryExecutor
parallelism = 512
load_examples = True
fernet_key = TpseZYPP3PvMP6DogEGQBkIcXO-REdU8Nqd-wp8R1Ns=
[database]
sql_alchemy_conn = postgresql+psycopg2://airflow:secret@db.example.org/airflow
sql_alchemy_pool_size = 50
[logging]
logging_level = DEBUG
base_log_folder = /srv/logs
[scheduler]
scheduler_idle_sleep_time = 0.1
[api_auth]
jwt_secret = abc
[celery]
broker_url = redis://redis.example.org
"""
AIRFLOW = """
import json, logging, os, sys
from pathlib import Path
if sys.argv[1] == "renewed":
    import airflow.__main__
    from airflow_hybrid.runner.same_process import RenewedHome as Home, reads_again
    if not reads_again():
        sys.exit("it is not read again")
else:
    from airflow_hybrid.runner.home import Home
os.environ.update(AIRFLOW_HOME="/nowhere", AIRFLOW_CONFIG="/nowhere")
home = Home(Path(sys.argv[2]))
from airflow import configuration, settings
from airflow.models.connection import Connection
from airflow.sdk.configuration import conf as sdk_conf
def options(conf):
    return {f"{section}.{name}": text for section, of in conf.as_dict().items() for name, text in of.items()}
loggers = {name: logging.getLogger(name) for name in ("", "airflow.task", "airflow.models", "task", "py.warnings")}
known = {
    "conf": options(configuration.conf),
    "sdk": options(sdk_conf),
    "variables": {name: text for name, text in os.environ.items() if name.startswith("AIRFLOW")},
    "home": [configuration.AIRFLOW_HOME, settings.AIRFLOW_HOME, settings.DAGS_FOLDER, settings.PLUGINS_FOLDER],
    "database": [settings.SQL_ALCHEMY_CONN, settings.SQL_ALCHEMY_CONN_ASYNC, str(settings.engine.url),
                 str(settings.Session.get_bind().url), type(settings.engine.pool).__name__],
    "loggers": {name: [logger.level, logger.propagate, [type(handler).__name__ for handler in logger.handlers]]
                for name, logger in loggers.items()},
    "path": [folder for folder in sys.path if folder.endswith(("config", "plugins"))],
    "backends": [type(backend).__name__ for backend in configuration.ensure_secrets_loaded()],
}
print(json.dumps(known))
"""
OF_A_PROCESS = ("core.fernet_key", "api_auth.jwt_secret", "api.secret_key")
"""options that are other random texts in each process"""
READS = """
import importlib.abc, importlib.util, json, sys
read = set()
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if not name.endswith("_shared.configuration.parser"):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        load = spec.loader.exec_module
        def loaded(module):
            load(module)
            get = module.AirflowConfigParser.get
            def noted(parser, section, key, *args, **options):
                read.add((section.lower(), key.lower()))
                return get(parser, section, key, *args, **options)
            module.AirflowConfigParser.get = noted
        spec.loader.exec_module = loaded
        return spec
sys.meta_path.insert(0, Finder())
import airflow.__main__
from airflow.cli import cli_parser
cli_parser.get_parser()
print(json.dumps(sorted(read)))
"""
READ_AND_READ_AGAIN = {
    ("core", "dags_folder"), ("core", "executor"), ("core", "fernet_key"), ("core", "plugins_folder"),
    ("database", "sql_alchemy_conn"), ("database", "sql_alchemy_conn_async"),
    ("database", "sql_alchemy_connect_args"), ("database", "sql_alchemy_connect_args_async"),
    ("database", "sql_alchemy_engine_args"), ("database", "sql_alchemy_max_overflow"),
    ("database", "sql_alchemy_pool_enabled"), ("database", "sql_alchemy_pool_pre_ping"),
    ("database", "sql_alchemy_pool_recycle"), ("database", "sql_alchemy_pool_size"),
    ("database", "sql_alchemy_session_maker"), ("logging", "base_log_folder"), ("logging", "logging_level"),
}  # fmt: skip
READ_FOR_OTHERS = {
    # for the command line of other commands, for masks of secrets, and of an Airflow that has servers
    "api", "api_auth", "celery", "celery_broker_transport_options", "celery_result_backend_transport_options",
    "dag_processor", "edge", "kerberos", "kubernetes_executor", "scheduler", "webserver",
}  # fmt: skip


NOT_HERE = "import sys\nsys.path[:] = [folder for folder in sys.path if folder]\n"
"""as where a console script starts: no module is that of the current folder (``-P`` needs Python 3.11)"""


def python(program: str, *argv: str, cwd: Path, **variables: str) -> Any:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", NOT_HERE + program, *argv],
        cwd=cwd, env={**inherited, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_run_has_the_airflow_that_it_has_in_a_new_process(tmp_path: Path) -> None:
    callers = tmp_path / "caller"
    callers.mkdir()
    (callers / "airflow.cfg").write_text(CALLERS)
    known = {}
    for way in ("new", "renewed"):
        known[way] = python(AIRFLOW, way, str(tmp_path / "run"), cwd=tmp_path, AIRFLOW_HOME=str(callers))
        for of_conf in ("conf", "sdk"):
            for name in OF_A_PROCESS:
                known[way][of_conf].pop(name, None)
        del known[way]["variables"]["AIRFLOW__CORE__FERNET_KEY"]
    for part, value in known["new"].items():
        assert known["renewed"][part] == value, part


def test_what_airflow_has_read_before_a_command_runs_is_known(tmp_path: Path) -> None:
    """An option that is missing here may need another process: see what Airflow does with it."""
    read = python(READS, cwd=tmp_path, AIRFLOW_HOME=str(tmp_path / "airflow"))
    again = {(section, name) for section, name in read if same_process.is_read_again(section, name)}
    assert {entry for entry in again if entry[0] not in READ_FOR_OTHERS} == READ_AND_READ_AGAIN


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("core", "default_timezone"),
        ("core", "xcom_backend"),
        ("secrets", "backend"),
        ("database", "sql_alchemy_schema"),
        ("logging", "remote_logging"),
        ("operators", "default_queue"),
        ("metrics", "statsd_on"),
    ],
)
def test_what_is_read_once_is_not_read_again(section: str, name: str) -> None:
    assert not same_process.is_read_again(section, name)


def is_here(folder: Path, **variables: str) -> bool:
    program = """
import airflow, json
from airflow_hybrid.runner.same_process import reads_again
print(json.dumps(reads_again()))
"""
    return bool(python(program, cwd=folder, AIRFLOW_HOME=str(folder / "airflow"), **variables))


def test_a_plain_airflow_needs_no_other_process(tmp_path: Path) -> None:
    assert is_here(tmp_path)


def test_an_option_that_is_read_once_needs_another_process(tmp_path: Path) -> None:
    folder = tmp_path / "airflow"
    folder.mkdir()
    (folder / "airflow.cfg").write_text("[core]\ndefault_timezone = Europe/Rome\n")
    assert not is_here(tmp_path)


def test_modules_of_the_caller_s_folders_need_another_process(tmp_path: Path) -> None:
    config = tmp_path / "airflow" / "config"
    config.mkdir(parents=True)
    (config / "airflow_local_settings.py").write_text("def task_policy(task):\n    task.retries = 9\n")
    assert not is_here(tmp_path)


@pytest.mark.parametrize("path", ["", ":/nowhere", "relative:/nowhere", "{here}"])
def test_modules_of_the_current_folder_need_another_process(tmp_path: Path, path: str) -> None:
    assert not is_here(tmp_path, PYTHONPATH=path.format(here=tmp_path))
