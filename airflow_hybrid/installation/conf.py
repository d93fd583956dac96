# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The settings of a process with Airflow: from Airflow's own configuration."""

from __future__ import annotations

import configparser
from collections.abc import Iterable

from airflow_hybrid import settings
from airflow_hybrid.settings.options import OPTIONS, SECTION, default_of


class AirflowConf:
    """Airflow's configuration as the source of settings; see :class:`airflow_hybrid.settings.sources.Source`."""

    def text(self, name: str) -> str | None:
        from airflow.configuration import conf

        text: str | None = conf.get(SECTION, name, fallback=None)
        return text

    def names(self) -> Iterable[str]:
        from airflow.configuration import conf

        # what is in the file: Airflow's own methods add defaults
        if not configparser.ConfigParser.has_section(conf, SECTION):
            return ()
        return configparser.ConfigParser.options(conf, SECTION)


_SOURCE = AirflowConf()


def as_variables() -> dict[str, str]:
    """What is set in Airflow's configuration, as environment variables for a program with an Airflow of its own."""
    variables: dict[str, str] = {}
    for option in OPTIONS:
        text = _SOURCE.text(option.name)
        if text is not None and text != option.default_in(settings.airflow_home()):
            variables[settings.variable_of(option.name)] = text
    # logins that people have opened for this Airflow are used there, too
    home_of_logins = default_of("login_dir", settings.airflow_home())
    variables.setdefault(settings.variable_of("login_dir"), home_of_logins)
    return variables


def use_airflow_conf() -> None:
    """Read settings from Airflow's configuration from now on. Called where Airflow is imported for this package."""
    settings.read_from(_SOURCE)
