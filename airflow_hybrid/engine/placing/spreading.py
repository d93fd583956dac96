# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that need several locations at once, and how they learn which ones they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import JobScript, StageEntry

HOSTFILE = "HYBRID_HOSTFILE"
"""variable of the job: path of a file with the names of its locations, one per line, its own first"""
LOCATIONS = "HYBRID_LOCATIONS"
"""variable of the job: how many there are"""
_DEFAULT_HOSTFILES = ("OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile", "HYDRA_HOST_FILE")
"""where the mpirun of Open MPI 4, Open MPI 5 and MPICH look for hosts without an option"""
_BY_NODE = {"OMPI_MCA_rmaps_base_mapping_policy": "node"}
_ASK = (
    'ah=$1; shift; eval "$ah" >"$HYBRID_HOSTFILE" || { echo "its nodes are not known: $ah" >&2; exit 71; }; exec "$@"'
)


def tell(script: JobScript, directory: str, place: Place, peers: Sequence[Place]) -> JobScript:
    """Tell a job about its locations; a job with only one is unchanged.

    :param directory: of the job. :param peers: its other locations, where the hosts themselves run the jobs.
    :raises ConfigError: the place's scheduler does not report a job's nodes.
    """
    count = place.target.locations
    if count == 1:
        return script
    hostfile = f"{directory}/hostfile"
    script = replace(script, environment={**script.environment, HOSTFILE: hostfile, LOCATIONS: str(count)})
    scheduler = getattr(place.queue, "scheduler", None)
    if scheduler is not None and scheduler.on_host:
        names = "".join(f"{at.host.address}\n" for at in (place, *peers))
        mpi = {name: hostfile for name in _DEFAULT_HOSTFILES} | _BY_NODE
        return replace(
            script,
            environment={**mpi, **script.environment},
            stage=(*script.stage, StageEntry("file", hostfile, text=names.encode())),
        )
    if scheduler is None or not scheduler.hosts_command:
        raise ConfigError(
            f"a job at {place.title} cannot have {count} locations",
            hint="leave `locations` out, and ask for nodes by the service's own options",
        )
    command = script.command if not script.shell else ("/bin/sh", "-c", *script.command)
    return replace(script, shell=False, command=("/bin/sh", "-c", _ASK, "sh", scheduler.hosts_command, *command))
