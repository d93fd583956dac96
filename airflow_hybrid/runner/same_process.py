# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run in the process of ``airflow hybrid run``, in which Airflow has been imported: to import it again takes seconds.

A run has an Airflow of its own: the caller's settings, except those of this package, are not those of the run. What
Airflow has read while it was imported is read again here. If the caller's Airflow sets something that is read once and
for all (:func:`reads_again`), the run needs a new process.
"""

from __future__ import annotations

import configparser
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

from airflow_hybrid.runner.home import Home

_SECTIONS = frozenset(
    {
        "airflow_hybrid", "api", "api_auth", "celery", "celery_broker_transport_options",
        "celery_result_backend_transport_options", "dag_processor", "database", "edge", "execution_api", "fab",
        "kerberos", "kubernetes_executor", "scheduler", "smtp", "triggerer", "usage_data_collection", "webserver",
    }
)  # fmt: skip
"""sections of ``airflow.cfg`` of which Airflow has kept nothing before a command runs, except what is below"""
_OPTIONS = {
    "core": frozenset(
        {
            "auth_manager", "dags_are_paused_at_creation", "dags_folder", "executor", "fernet_key", "load_examples",
            "max_active_runs_per_dag", "max_active_tasks_per_dag", "parallelism", "plugins_folder",
            "simple_auth_manager_all_admins", "simple_auth_manager_passwords_file", "simple_auth_manager_users",
        }
    ),
    "logging": frozenset({"base_log_folder", "dag_processor_child_process_log_directory", "logging_level"}),
}  # fmt: skip
"""options of other sections of which it has kept nothing, or that :class:`RenewedHome` lets it read again"""
_KEPT = {"database": frozenset({"sql_alchemy_schema", "sql_engine_collation_for_ids"})}
"""options of the sections above that it has kept for good"""
_OTHER_COLUMNS = ("mysql", "mariadb")
"""databases for which Airflow defines other columns"""


def reads_again() -> bool:
    """Whether a run in this process has the Airflow that it would have in a new process."""
    from airflow.configuration import conf
    from airflow.settings import LAZY_LOAD_PLUGINS, LAZY_LOAD_PROVIDERS

    if "airflow_local_settings" in sys.modules or not (LAZY_LOAD_PLUGINS and LAZY_LOAD_PROVIDERS):
        return False
    if conf.get("secrets", "backend", fallback=None):
        return False
    if str(conf.get("database", "sql_alchemy_conn")).startswith(_OTHER_COLUMNS):
        return False
    are_read_again = all(is_read_again(section, name) for section, name in _set_options(conf))
    return are_read_again and _are_modules_from_named_folders()


def _set_options(conf: Any) -> Iterator[tuple[str, str]]:
    """Section and name of each option in ``airflow.cfg`` that is not as Airflow has it by default."""
    for section in conf.sections():
        for name, text in configparser.ConfigParser.items(conf, section, raw=True):
            if text != conf.get_default_value(section, name, raw=True):
                yield section, name


def is_read_again(section: str, name: str) -> bool:
    """Whether an option of the caller's ``airflow.cfg`` has no effect on a run in this process."""
    if section in _SECTIONS:
        return name not in _KEPT.get(section, ())
    return name in _OPTIONS.get(section, ())


def _are_modules_from_named_folders() -> bool:
    """No module comes from the current folder, which may be anybody's (see ``airflow_hybrid.interpreter``)."""
    path = os.environ.get("PYTHONPATH")
    if path is not None and not all(map(os.path.isabs, path.split(os.pathsep))):
        return False
    return os.path.realpath(os.getcwd()) not in {os.path.realpath(folder) for folder in sys.path}


class RenewedHome(Home):
    """The home of a run in a process in which Airflow has been imported."""

    def use(self, variables: Mapping[str, str]) -> None:
        from airflow import configuration
        from airflow import settings as airflow_settings
        from airflow.sdk import configuration as sdk_configuration

        settings = cast(Any, airflow_settings)  # it has variables without types

        of_caller = [os.path.join(settings.AIRFLOW_HOME, "config"), settings.PLUGINS_FOLDER]
        sys.path[:] = [folder for folder in sys.path if folder not in of_caller]
        os.environ.update(variables)
        for module in (configuration, settings):
            setattr(module, "AIRFLOW_HOME", str(self.folder))  # noqa: B010 - another's name
        for conf in (configuration.conf, sdk_configuration.conf):
            conf.remove_all_read_configurations()
        sdk_configuration.clear_secrets_backends_cache()
        _read_again(settings)


def _read_again(settings: Any) -> None:
    """What ``airflow.settings.initialize`` does with settings of a run."""
    from airflow.config_templates import airflow_local_settings as logging_defaults

    settings.dispose_orm()
    settings.configure_vars()
    settings.prepare_syspath_for_config_and_plugins()
    importlib.reload(logging_defaults)  # levels and folders of logs
    settings.configure_logging()
    settings.configure_adapters()
    settings.configure_orm()
