# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Build an Airflow DAG from a workflow graph: tasks, their order, and the setup and teardown of deployments."""
