# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``local``: this machine."""

from __future__ import annotations

from pydantic import Field

from airflow_hybrid.config.base import Model
from airflow_hybrid.config.connectors.mpi import MpiModel


class LocalConfig(Model):
    """The machine that runs Airflow. Several such deployments, each with its own `workdir`, are several sites."""

    cores: int | None = Field(None, ge=1, description="Jobs of one core at a time; default: all. (airflow_hybrid)")
    mpi: MpiModel | None = Field(
        None, description="How MPI programs (cwltool:MPIRequirement) are started. (airflow_hybrid)"
    )
    transferBufferSize: int = Field(65536, ge=1, description="Accepted; has no effect.")
