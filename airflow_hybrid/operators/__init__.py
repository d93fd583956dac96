# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Airflow's tasks, one module per kind: inputs, plan, hybrid (a step), outputs, deployments; and the values between
them.

Importing this package imports nothing, since Airflow parses a DAG file for every task start.
"""
