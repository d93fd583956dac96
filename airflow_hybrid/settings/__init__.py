# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What an administrator sets: Airflow's section ``[airflow_hybrid]``, as frozen values for every room.

:mod:`options` says which settings there are, :mod:`sources` where their texts come from without Airflow, and
:mod:`reading` makes values of the texts. Rooms that know Airflow give its own configuration as the source
(:func:`read_from`, called by :mod:`airflow_hybrid.installation.conf`). Nothing else has an influence: no document, no
hybrid file, no run.
"""

from __future__ import annotations

from airflow_hybrid.errors import SettingError
from airflow_hybrid.settings.options import SECTION, Settings, title_of, variable_of
from airflow_hybrid.settings.reading import current, read_from, value_of
from airflow_hybrid.settings.sources import airflow_cfg_path, airflow_home, core_option

__all__ = [
    "SECTION",
    "SettingError",
    "Settings",
    "airflow_cfg_path",
    "airflow_home",
    "core_option",
    "current",
    "read_from",
    "title_of",
    "value_of",
    "variable_of",
]
