# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Train a grid of network variants, shaped like the CLAIRE-COVID pipeline. Details: dags/README.md."""

from airflow_hybrid import load_dags

load_dags("claire/streamflow.yml", globals())
