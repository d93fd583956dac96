# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of ``deployments.<name>.config``, one module per family of types: StreamFlow's keys and ours.

A type whose connector a later version or a third party brings is read without a model.
"""

from __future__ import annotations

from airflow_hybrid.config.connectors.local import LocalConfig
from airflow_hybrid.config.connectors.slurm import INLINE_SSH_KEYS, SlurmConfig
from airflow_hybrid.config.connectors.ssh import SshConfig

__all__ = ["INLINE_SSH_KEYS", "STREAMFLOW_TYPES", "SUPPORTED_TYPES", "LocalConfig", "SlurmConfig", "SshConfig"]

STREAMFLOW_TYPES = (
    "docker",
    "docker-compose",
    "flux",
    "helm",
    "helm3",
    "helm4",
    "kubernetes",
    "local",
    "occam",
    "pbs",
    "singularity",
    "slurm",
    "ssh",
)
"""Connector types that StreamFlow 0.1 and 0.2 have."""
SUPPORTED_TYPES = ("local", "ssh", "slurm")
