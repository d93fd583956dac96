# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Airflow's tasks, one module per kind: inputs, plan, hybrid (a step), outputs, deployments; and their values.

Importing this package imports nothing else: Airflow parses a DAG file at every task start.
"""
