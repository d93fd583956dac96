# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``slurm``: a Slurm cluster."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from airflow_hybrid.config import sbatch
from airflow_hybrid.config.base import Model, NonEmpty
from airflow_hybrid.config.connectors.ssh import DEPRECATED_FILE, SshNode, check_host

_INLINE = "(Deprecated: wrap an `ssh` deployment.) "


class SlurmConfig(Model):
    """A Slurm cluster, on this machine or, with `wraps`, where an `ssh` deployment leads."""

    services: dict[NonEmpty, Annotated[dict[str, Any], WithJsonSchema(sbatch.service_json_schema())]] = Field(
        default_factory=dict,
        description="Name -> how to submit: `file` (Jinja2 template with #SBATCH lines) or sbatch options by name.",
    )
    maxConcurrentJobs: int | None = Field(
        None, ge=1, description="Jobs of a run in the queue at a time. Default: no limit (StreamFlow: 1)."
    )
    pollingInterval: int | None = Field(
        None, ge=1, description="Longest time between two looks at the queue, in seconds. Default: adaptive."
    )
    file: NonEmpty | None = Field(None, description=DEPRECATED_FILE)
    hostname: Annotated[NonEmpty, AfterValidator(check_host)] | None = Field(
        None, description=_INLINE + "Login node, `host` or `host:port`."
    )
    username: NonEmpty | None = Field(None, description=_INLINE + "User to log in as.")
    sshKey: NonEmpty | None = Field(None, description=_INLINE + "Path of the private key.")
    sshKeyPassphraseFile: NonEmpty | None = Field(None, description=_INLINE + "File with the key's passphrase.")
    passwordFile: NonEmpty | None = Field(None, description=_INLINE + "File with the password.")
    checkHostKey: bool = Field(True, description=_INLINE + "`false` has no effect.")
    dataTransferConnection: SshNode | None = Field(None, description=_INLINE + "Has no effect yet.")
    maxConcurrentSessions: int = Field(10, ge=1, description=_INLINE + "Sessions at a time on one connection.")
    maxConnections: int = Field(1, ge=1, description=_INLINE + "There is one connection per host.")
    tunnel: SshNode | None = Field(None, description=_INLINE + "Host to go through (ProxyJump).")
    transferBufferSize: int = Field(65536, ge=1, description="Accepted; has no effect.")


INLINE_SSH_KEYS = (
    "username",
    "sshKey",
    "sshKeyPassphraseFile",
    "passwordFile",
    "checkHostKey",
    "dataTransferConnection",
    "maxConcurrentSessions",
    "maxConnections",
    "tunnel",
)
"""Keys of :class:`SlurmConfig` that belong, with ``hostname``, to the ``ssh`` deployment that it should wrap."""
