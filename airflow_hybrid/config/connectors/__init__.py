# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of ``deployments.<name>.config``, one module per family of types: StreamFlow's keys and ours.

Types with a connector of a later version or of another package have no model.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_hybrid.config.connectors.compose import ComposeConfig
from airflow_hybrid.config.connectors.containers import ApptainerConfig, CharliecloudConfig, ContainerConfig
from airflow_hybrid.config.connectors.helm import HelmConfig
from airflow_hybrid.config.connectors.kubernetes import KubernetesConfig
from airflow_hybrid.config.connectors.local import LocalConfig
from airflow_hybrid.config.connectors.queues import INLINE_SSH_KEYS, FluxConfig, PbsConfig, SgeConfig, SlurmConfig
from airflow_hybrid.config.connectors.ssh import SshConfig
from airflow_hybrid.config.values import HELM_TYPES, QUEUE_TYPES

__all__ = [
    "CONTAINER_TYPES",
    "DECLARED_SERVICES",
    "HELM_TYPES",
    "IMAGE_TYPES",
    "INLINE_SSH_KEYS",
    "MANAGED_TYPES",
    "STREAMFLOW_TYPES",
    "SUPPORTED_TYPES",
    "ApptainerConfig",
    "CharliecloudConfig",
    "ComposeConfig",
    "ContainerConfig",
    "FluxConfig",
    "HelmConfig",
    "KubernetesConfig",
    "LocalConfig",
    "PbsConfig",
    "SgeConfig",
    "SlurmConfig",
    "SshConfig",
]

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
MANAGED_TYPES: Mapping[str, str | None] = {
    "docker": None,
    "docker-compose": None,
    "helm": None,
    "helm3": None,
    "helm4": None,
    "kubernetes": "files",
    "podman": None,
}
"""Types that are deployed for a run unless they are external; with a key: only if the config has it."""
CONTAINER_TYPES = ("docker", "podman")
"""Types that are containers running for a whole run; inside a queue system, the image in which its jobs run."""
IMAGE_TYPES = ("apptainer", "singularity", "charliecloud")
"""Types that are an image for jobs."""
SUPPORTED_TYPES = (
    "local", "ssh", "slurm", "pbs", "sge", "flux", "docker-compose", "kubernetes", *HELM_TYPES, *CONTAINER_TYPES,
    *IMAGE_TYPES,
)  # fmt: skip
DECLARED_SERVICES = ("local", "ssh", "kubernetes", *QUEUE_TYPES)
"""Types whose services are those of `config.services`."""
