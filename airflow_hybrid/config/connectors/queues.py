# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Queue systems: ``slurm``, ``pbs``, ``sge``, ``flux``. Common keys are StreamFlow's; the services differ."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from airflow_hybrid.config.base import Model, NonEmpty, SitePath, one_or_many
from airflow_hybrid.config.connectors.mpi import MpiModel
from airflow_hybrid.config.connectors.ssh import DEPRECATED_FILE, SshNode, check_host
from airflow_hybrid.config.native import NATIVE

_INLINE = "(Deprecated: wrap an `ssh` deployment.) "


class QueueConfig(Model):
    """Keys of all queue systems."""

    maxConcurrentJobs: int | None = Field(
        None, ge=1, description="Jobs of a run in the queue at a time. Default: no limit (StreamFlow: 1)."
    )
    pollingInterval: int | None = Field(
        None, ge=1, description="Longest time between two checks of the queue, in seconds. Default: adaptive."
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
    maxConcurrentSessions: int = Field(
        10, ge=1, description=_INLINE + "Sessions at a time on one connection; more than 8 are never used."
    )
    maxConnections: int = Field(1, ge=1, description=_INLINE + "There is one connection per host.")
    tunnel: SshNode | None = Field(None, description=_INLINE + "Host to go through (ProxyJump).")
    path: Annotated[list[SitePath], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] = Field(
        default_factory=list,
        description="Folders at the location that come first on the `PATH` of commands and jobs. (airflow_hybrid)",
    )
    profile: SitePath | None = Field(
        None,
        description="A file at the location in the language of `sh`, which is read before every command there: for"
        " programs that are only there for login shells. (airflow_hybrid)",
    )
    transferBufferSize: int = Field(65536, ge=1, description="Accepted; has no effect.")
    mpi: MpiModel | None = Field(
        None, description="How MPI programs (cwltool:MPIRequirement) are started. (airflow_hybrid)"
    )


_SERVICES = "Name -> how to submit: `file` (Jinja2 template with {} lines) or options of {} by name."


def _service(kind: str) -> WithJsonSchema:
    return WithJsonSchema(NATIVE[kind].service_json_schema())


class SlurmConfig(QueueConfig):
    """A Slurm cluster, on this machine or, with `wraps`, on the host of an `ssh` deployment."""

    services: dict[NonEmpty, Annotated[dict[str, Any], _service("slurm")]] = Field(
        default_factory=dict, description=_SERVICES.format("#SBATCH", "sbatch")
    )


class PbsConfig(QueueConfig):
    """An OpenPBS, PBS Professional or Torque cluster, on this machine or on the host of a wrapped `ssh` deployment."""

    services: dict[NonEmpty, Annotated[dict[str, Any], _service("pbs")]] = Field(
        default_factory=dict, description=_SERVICES.format("#PBS", "qsub")
    )


class SgeConfig(QueueConfig):
    """A Grid Engine cluster, on this machine or on the host of a wrapped `ssh` deployment. (airflow_hybrid)"""

    services: dict[NonEmpty, Annotated[dict[str, Any], _service("sge")]] = Field(
        default_factory=dict, description=_SERVICES.format("#$", "qsub")
    )


class FluxConfig(QueueConfig):
    """A Flux instance, on this machine or on the host of a wrapped `ssh` deployment."""

    services: dict[NonEmpty, Annotated[dict[str, Any], _service("flux")]] = Field(
        default_factory=dict, description=_SERVICES.format("#flux:", "flux submit")
    )


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
    "path",
    "profile",
)
"""Keys of :class:`QueueConfig` that belong, with ``hostname``, to the ``ssh`` deployment that it should wrap."""
