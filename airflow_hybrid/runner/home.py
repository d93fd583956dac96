# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A private Airflow for a run: settings in environment variables, and a ready database.

Must be used before Airflow is imported, because Airflow reads its settings then.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import os
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from airflow_hybrid.settings import airflow_home, variable_of
from airflow_hybrid.settings.options import default_of

CACHE_VARIABLE = variable_of("cache_dir")
LOGIN_VARIABLE = variable_of("login_dir")


def cache_directory() -> Path:
    """The setting ``cache_dir`` if its variable is set, else ``$XDG_CACHE_HOME/airflow_hybrid`` (``~/.cache``)."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "airflow_hybrid"


def login_directory() -> str:
    """The setting ``login_dir`` if its variable is set, else its default in the caller's own Airflow home.

    Logins that somebody has opened there are used by runs, too.
    """
    return os.environ.get(LOGIN_VARIABLE) or default_of("login_dir", airflow_home())


class Home:
    """The Airflow home of one process, in ``folder``; its database is a copy of one made earlier.

    :ivar dags: its DAGs folder; ``work``: where jobs of this machine have their directories.
    """

    def __init__(self, folder: Path, *, log_level: str = "WARNING") -> None:
        self.folder = folder
        self.dags = folder / "dags"
        self.work = folder / "work"
        self._database = folder / "airflow.db"
        self._template = cache_directory() / f"airflow-{importlib.metadata.version('apache-airflow')}.db"
        self.dags.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(LOGIN_VARIABLE, login_directory())
        os.environ.setdefault(CACHE_VARIABLE, str(cache_directory()))
        self.use(self._settings(log_level))

    def use(self, variables: Mapping[str, str]) -> None:
        """Make these Airflow's settings; they are environment variables."""
        if "airflow" in sys.modules:
            raise RuntimeError("Airflow has been imported already: its settings are read then")
        os.environ.update(variables)

    def _settings(self, log_level: str) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._database}",
            # also those that are as by default: a process that has imported Airflow has defaults of another home
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.folder / "plugins"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.folder / "logs" / "dag_processor"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            # rendered templates are not stored: a rendered field may be long
            "AIRFLOW__CORE__NUM_DAG_RUNS_TO_RETAIN_RENDERED_FIELDS": "0",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": log_level,
            "AIRFLOW__LOGGING__FAB_LOGGING_LEVEL": log_level,
            # warnings between libraries are of no use to the user; failures are reported at the end
            "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "py.warnings=ERROR,task=CRITICAL",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def ready(self) -> None:
        """Provide the database: a copy, or a new one once per version of Airflow (which takes some seconds)."""
        if not self._database.exists() and self._template.exists():
            _copy(self._template, self._database)
            return
        from airflow.utils.db import initdb

        initdb()
        self._keep()

    def _keep(self) -> None:
        """Keep the new database for other runs. If the cache cannot be written, they are only slower."""
        with contextlib.suppress(OSError):
            self._template.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._template.parent, prefix=".", suffix=".tmp")
            os.close(handle)
            _copy(self._database, Path(name))
            os.replace(name, self._template)

    def add_file(self, dag_id: str, document: str) -> str:
        """A file in the place of the DAG's: Airflow shows its source and requires it in the DAGs folder."""
        file = self.dags / f"{dag_id}.py"
        file.write_text(f"# DAG {dag_id} of {document!r}, made by a runner\n")
        return str(file)


def _copy(source: Path, target: Path) -> None:
    """Copy a SQLite database, including its write-ahead log."""
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)
