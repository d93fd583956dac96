# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Run a document as a DAG to its end in this process, without a scheduler, triggerer or web server.

Importing this package imports nothing: the environment has to be set before Airflow is imported
(:mod:`airflow_hybrid.runner.home`).
"""
