# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow's database has of a DAG run, for pages and commands. Values there can be edited: they prove nothing."""
