# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``mpi``: how a deployment starts MPI programs; the keys are those of cwltool's ``--mpi-config-file``."""

from __future__ import annotations

from pydantic import Field

from airflow_hybrid.config.base import Model, NonEmpty


class MpiModel(Model):
    """How MPI programs are started: `runner nproc_flag <processes> extra_flags... <command>`. (airflow_hybrid)"""

    runner: NonEmpty = Field("mpirun", description="The program, such as `srun` or `mpiexec`.")
    nproc_flag: NonEmpty = Field("-n", description="Its option for the number of processes.")
    default_nproc: int = Field(1, ge=1, description="Number of processes if the document does not set it.")
    extra_flags: list[NonEmpty] = Field(default_factory=list, description="Further options.")
    env_pass: list[NonEmpty] = Field(
        default_factory=list, description="Accepted; jobs have the environment of their location."
    )
    env_pass_regex: list[NonEmpty] = Field(
        default_factory=list, description="Accepted; jobs have the environment of their location."
    )
    env_set: dict[NonEmpty, str] = Field(default_factory=dict, description="Environment variables to set.")
