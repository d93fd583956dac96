# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a workflow graph to an Airflow DAG: its tasks, their order, and the setup and teardown of deployments."""
