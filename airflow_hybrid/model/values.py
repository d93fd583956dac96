# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Words and types that all values share."""

from __future__ import annotations

from typing import Any

JsonValue = Any  # None | bool | int | float | str | list | dict, as json.loads gives it
CwlObject = dict[str, Any]  # input or output object: port name -> CWL value

SCHEME = "hybrid"
LOCAL_DEPLOYMENT = "local"
"""Name of the deployment that is always there: the machine that Airflow's process runs on."""
LOCAL_LOCATION = "localhost"
