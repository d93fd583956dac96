# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow's provider manager is told about this package. Imports nothing: every Airflow process calls it."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, by Airflow's ``provider_info.schema.json``."""
    integration = "CWL on hybrid environments"
    return {
        "package-name": "airflow-hybrid",
        "name": "Hybrid workflows (CWL)",
        "description": "Runs `CWL <https://www.commonwl.org/>`__ workflows as DAGs across local, SSH and Slurm sites.",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://www.commonwl.org/",
                "tags": ["service"],
            }
        ],
        "operators": [
            {"integration-name": integration, "python-modules": ["airflow_hybrid.operators.hybrid"]},
        ],
        "hooks": [
            {
                "integration-name": integration,
                "python-modules": ["airflow_hybrid.hooks.connectors", "airflow_hybrid.hooks.data_mover"],
            }
        ],
        "triggers": [
            {"integration-name": integration, "python-modules": ["airflow_hybrid.triggers.hybrid"]},
        ],
        "cli": ["airflow_hybrid.cli.get_hybrid_cli_commands"],
    }
