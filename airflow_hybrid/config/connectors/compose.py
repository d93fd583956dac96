# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``docker-compose``: the services of a compose file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from airflow_hybrid.config.base import Model, NonEmpty, one_or_many

_UP = "As in `docker compose up`."
_DAEMON = "Accepted; has no effect: the engine is the one that its program at the location talks to."


class ComposeConfig(Model):
    """The services of a compose file, brought up for each DAG run on this machine or, with `wraps`, where that leads.

    A step is bound to a service; the service's containers are its locations.
    """

    files: Annotated[
        list[NonEmpty],
        Field(min_length=1),
        BeforeValidator(one_or_many, json_schema_input_type=str | list[str]),
    ] = Field(description="Compose files, relative to the hybrid file; later ones take precedence over earlier ones.")
    projectDirectory: NonEmpty | None = Field(
        None, description="Base folder of relative paths in the compose files; default: the folder of the first file."
    )
    projectName: NonEmpty | None = Field(
        None, description="Name of an `external` project. Otherwise each run has a name of its own."
    )
    composeCommand: NonEmpty | None = Field(
        None,
        description="The program: `docker compose`, `docker-compose`, `podman compose`, `podman-compose`. Default: the"
        " first of these that is installed and whose engine answers. (airflow_hybrid)",
    )
    deployTimeout: int | None = Field(
        None, ge=1, description="Seconds until all services must be up and healthy; default 600. (airflow_hybrid)"
    )
    sharedPaths: list[NonEmpty] = Field(
        default_factory=list, description="Folders that all containers share (volumes). (airflow_hybrid)"
    )
    cores: int | None = Field(
        None, ge=1, description="Jobs of one core at a time in each container; default: all. (airflow_hybrid)"
    )
    build: bool = Field(False, description=_UP)
    noBuild: bool = Field(False, description=_UP)
    forceRecreate: bool = Field(False, description=_UP)
    alwaysRecreateDeps: bool = Field(False, description=_UP)
    noRecreate: bool = Field(False, description=_UP)
    renewAnonVolumes: bool = Field(False, description=_UP)
    removeVolumes: bool = Field(
        True, description="Accepted; volumes of a run's own project are always removed with it."
    )
    removeOrphans: bool = Field(False, description="Accepted; has no effect: a run's project has none.")
    timeout: int | None = Field(None, description="Accepted; has no effect.")
    verbose: bool = Field(False, description="Accepted; has no effect.")
    logLevel: NonEmpty | None = Field(None, description="Accepted; has no effect.")
    noAnsi: bool = Field(False, description="Accepted; has no effect.")
    compatibility: bool = Field(False, description="Accepted; has no effect (Compose v2 does not need it).")
    noDeps: bool = Field(False, description="Accepted; has no effect: all services are brought up.")
    noStart: bool = Field(False, description="Accepted; has no effect: all services are brought up.")
    host: NonEmpty | None = Field(None, description=_DAEMON)
    skipHostnameCheck: Any = Field(None, description=_DAEMON)
    tls: bool = Field(False, description=_DAEMON)
    tlscacert: NonEmpty | None = Field(None, description=_DAEMON)
    tlscert: NonEmpty | None = Field(None, description=_DAEMON)
    tlskey: NonEmpty | None = Field(None, description=_DAEMON)
    tlsverify: bool = Field(False, description=_DAEMON)
    locationsCacheTTL: int | None = Field(None, description="Accepted; has no effect.")
    resourcesCacheTTL: int | None = Field(None, description="Accepted; has no effect.")
    transferBufferSize: Any = Field(None, description="Accepted; has no effect.")
