# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The readings of one day, for every day: a run knows its date. Details: dags/README.md."""

from airflow_hybrid import load_dags

load_dags("daily/streamflow.yml", globals())
