# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``local``: this machine."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from airflow_hybrid.config.base import Model, SitePath, one_or_many, wrong
from airflow_hybrid.config.connectors.mpi import MpiModel


def _not_root(user: str) -> str:
    if user == "root":
        raise wrong("`run_as` is for a user with fewer rights than Airflow's, not for root", "name another user")
    return user


def _one_queue(name: str) -> str:
    if re.search(r"[\s,{}]", name):
        raise wrong(
            f"`queue` is {name!r}, which no worker can serve",
            "it is the name of one queue, without spaces, commas and braces, and no template",
        )
    return name


QueueName = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_one_queue)]
UnixUser = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$"), AfterValidator(_not_root)]


class LocalConfig(Model):
    """The machine that runs Airflow. Several such deployments, each with its own `workdir`, are several sites."""

    cores: int | None = Field(None, ge=1, description="Jobs of one core at a time; default: all. (airflow_hybrid)")
    queue: QueueName | None = Field(
        None,
        description="Queue of Airflow's executor, served by the workers of one machine, or of machines that share"
        " `workdir`. Steps that are bound to the deployment, or to one that wraps it, run in these workers."
        " (airflow_hybrid)",
    )
    run_as: UnixUser | None = Field(
        None,
        description="Unix user, not Airflow's own, that commands and jobs run as: directly if Airflow is root,"
        " else by `sudo -n`. Not for the deployment that is called `local`. (airflow_hybrid)",
    )
    mpi: MpiModel | None = Field(
        None, description="How MPI programs (cwltool:MPIRequirement) are started. (airflow_hybrid)"
    )
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
