# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What whoever parses a DAG file need not import."""

from __future__ import annotations

import subprocess
import sys


def test_a_dag_file_imports_neither_the_engine_nor_cwltool() -> None:
    code = (
        "import sys; from airflow_hybrid import HybridDag, HybridOperator, load_dags;"
        "heavy = ('cwltool', 'schema_salad', 'asyncssh', 'airflow_hybrid.engine', 'airflow_hybrid.sites.connectors');"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
