# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The words of a small book, counted at one site and summed up at another. Details: dags/README.md."""

from airflow_hybrid import load_dags

load_dags("hello/streamflow.yml", globals())
