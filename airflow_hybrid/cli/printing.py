# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tables of commands in Airflow's formats: short texts for people, all values as they are for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

FOR_PEOPLE = ("table", "plain")


def print_rows(rows: Sequence[Mapping[str, Any]], output: str, shown: Sequence[Mapping[str, str]]) -> None:
    """Print rows in one of the formats of Airflow's ``--output``.

    :param rows: all values; ``shown``: what people see of them, already safe for a terminal.
    """
    if output in FOR_PEOPLE:
        from airflow.cli.simple_table import AirflowConsole

        AirflowConsole().print_as([dict(row) for row in shown], output)
    elif output == "json":
        json.dump(list(rows), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        import yaml

        yaml.safe_dump([dict(row) for row in rows], sys.stdout, sort_keys=False, allow_unicode=True)
