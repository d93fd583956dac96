# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""This package's description for Airflow's provider manager. Imports little: every Airflow process calls it."""

from __future__ import annotations

from typing import Any

from airflow_hybrid.settings import options


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
                "python-modules": [
                    "airflow_hybrid.hooks.connectors",
                    "airflow_hybrid.hooks.data_mover",
                    "airflow_hybrid.hooks.ssh",
                ],
            }
        ],
        "triggers": [
            {"integration-name": integration, "python-modules": ["airflow_hybrid.triggers.hybrid"]},
        ],
        "connection-types": [
            _ssh_site("hybrid-ssh", "HybridSshHook", "SSH site (CWL on hybrid environments)"),
            # Airflow's form of the name in a URI
            _ssh_site("hybrid_ssh", "HybridSshUriHook", "SSH site (hybrid_ssh: choose hybrid-ssh for new Connections)"),
        ],
        "config": dict(options.described()),
        "extra-links": [
            "airflow_hybrid.operators.published.links.OutputsLink",
            "airflow_hybrid.operators.published.links.RunPageLink",
        ],
        "cli": ["airflow_hybrid.cli.commands.get_hybrid_cli_commands"],
    }


def _ssh_site(name: str, hook: str, title: str) -> dict[str, Any]:
    """A Connection type with the form of an SSH host."""
    return {
        "connection-type": name,
        "hook-class-name": f"airflow_hybrid.hooks.ssh.{hook}",
        "hook-name": title,
        "ui-field-behaviour": {
            "hidden-fields": ["schema"],
            "relabeling": {"login": "Username"},
            "placeholders": {"host": "login node or host", "port": "22"},
        },
        "conn-fields": {
            "key_file": _text("Private key file", "Path on the machines of workers and triggerers."),
            "private_key": _text("Private key", "The key itself, instead of a file.", secret=True),
            "certificate": _text("Certificate", "Of the private key; also as a file: extra cert_file."),
            "private_key_passphrase": _text("Passphrase", "Of the private key.", secret=True),
            "host_key": _text("Host key", "The one trusted key (ssh-ed25519 AAAA...), instead of known_hosts."),
        },
    }


def _text(title: str, description: str, *, secret: bool = False) -> dict[str, Any]:
    """A text field of a Connection's form, kept in its extra."""
    kind = {"type": ["string", "null"], **({"format": "password"} if secret else {})}
    return {"label": title, "description": description, "schema": kind}
