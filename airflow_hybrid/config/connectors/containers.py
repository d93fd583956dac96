# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``docker``, ``podman``, ``singularity``/``apptainer``, ``charliecloud``: deployments that are a container image.

Native options are StreamFlow's (the options of ``docker run`` and ``singularity instance start`` in camelCase). They
are a table of names and types that detects misspellings; values are passed on as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, create_model

from airflow_hybrid.config.base import Model, NonEmpty
from airflow_hybrid.model import image_names

AS_IN = "As in"
"""start of a native option's description"""
_NO_EFFECT = "Accepted; has no effect."
_CACHES = ("locationsCacheSize", "locationsCacheTTL", "resourcesCacheSize", "resourcesCacheTTL", "transferBufferSize")


def _named(image: str) -> str:
    problem = image_names.name_problem(image)
    if problem:
        raise ValueError(problem)
    return image


def _named_or_there(image: str) -> str:
    """The location expands ``~`` and ``$NAME``; the path is not checked further."""
    if image.startswith(("~", "$")):
        return image
    problem = image_names.id_problem(image)
    if problem:
        raise ValueError(problem)
    return image


ImageName = Annotated[NonEmpty, AfterValidator(_named)]
ImageNameOrPath = Annotated[NonEmpty, AfterValidator(_named_or_there)]
ContainerName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]


class _Containers(Model):
    """Keys of containers that run for a whole run, besides the program's own options."""

    image: ImageName | None = Field(
        None, description="The image; pulled if it is missing. Required unless `containerId` names a container."
    )
    command: list[str] | None = Field(
        None,
        description="What the container runs. Default: a shell that waits, instead of the image's program.",
    )
    containerId: ContainerName | None = Field(None, description="Id or name of an `external` container.")
    containerIds: list[ContainerName] | None = Field(
        None, min_length=1, description="Several containers: each is a location."
    )
    replicas: int = Field(1, ge=1, description="Number of containers; each is a location.")
    cores: int | None = Field(
        None, ge=1, description="Jobs of one core at a time in each; default: all of its cores. (airflow_hybrid)"
    )
    deployTimeout: int | None = Field(
        None, ge=1, description="Seconds until it must run (and be healthy); default 600. (airflow_hybrid)"
    )
    sharedPaths: list[NonEmpty] = Field(
        default_factory=list, description="Folders that all replicas share (volumes). (airflow_hybrid)"
    )
    cidfile: Any = Field(None, description=_NO_EFFECT)
    detachKeys: Any = Field(None, description=_NO_EFFECT)
    restart: Any = Field(None, description="Accepted; has no effect: a container that ended stays ended.")
    rm: Any = Field(None, description="Accepted; has no effect: it is removed after the last step that needs it.")
    sigProxy: Any = Field(None, description=_NO_EFFECT)
    workdir: Any = Field(None, description="Accepted; has no effect: see `workdir` of the deployment.")


class _Images(Model):
    """Keys of an image for jobs, besides the program's own options."""

    image: ImageNameOrPath = Field(
        description="The image: a name to pull (`debian:12`, `docker://...`), or the path of one at the location."
    )
    command: Any = Field(None, description="Accepted; has no effect: each job has a container of its own.")
    pidFile: Any = Field(None, description=_NO_EFFECT)
    workdir: Any = Field(None, description="Accepted; has no effect: see `workdir` of the deployment.")


def _options(program: str, lists: str, flags: str, values: str) -> dict[str, Any]:
    """Fields of native options: names of options that take a list, of switches, and of options with a value."""
    kinds: tuple[tuple[str, Any], ...] = (
        (lists, list[str | int] | str | None),
        (flags, bool | None),
        (values, str | int | float | None),
    )
    fields = {
        name: (kind, Field(None, description=f"{AS_IN} `{program}`."))
        for names, kind in kinds
        for name in names.split()
    }
    return {**fields, **{name: (Any, Field(None, description=_NO_EFFECT)) for name in _CACHES}}


_DOCKER = _options(
    "docker run",
    """addHost blkioWeightDevice capAdd capDrop device deviceCgroupRule deviceReadBps deviceReadIops deviceWriteBps
    deviceWriteIops dns dnsOption dnsSearch env envFile expose groupAdd label labelFile link linkLocalIP logOpt mount
    network networkAlias publish securityOpt storageOpt sysctl tmpfs ulimit volume volumesFrom""",
    "init noHealthcheck oomKillDisable privileged publishAll readOnly",
    """blkioWeight cgroupParent cgroupns cpuPeriod cpuQuota cpuRTPeriod cpuRTRuntime cpuShares cpus cpusetCpus
    cpusetMems domainname entrypoint gpus healthCmd healthInterval healthRetries healthStartPeriod healthTimeout
    hostname ip ip6 ipc isolation kernelMemory logDriver macAddress memory memoryReservation memorySwap
    memorySwappiness oomScoreAdj pid pidsLimit runtime shmSize stopSignal stopTimeout user userns uts
    volumeDriver""",
)
_SINGULARITY = _options(
    "singularity exec",
    "bind blkioWeightDevice env fusemount mount networkArgs noMount overlay scratch security",
    """allowSetuid boot cleanenv compat contain containall disableCache fakeroot ipc keepPrivs net noEval noHome
    noHttps noInit noPrivs noUmask nv nvccli oomKillDisable rocm userns uts writable writableTmpfs""",
    """addCaps applyCgroups blkioWeight cpuShares cpus cpusetCpus cpusetMems dns dockerHost dropCaps envFile home
    hostname instanceName memory memoryReservation memorySwap network pemPath pidsLimit""",
)

if TYPE_CHECKING:

    class ContainerConfig(_Containers):
        """See below."""

    class ApptainerConfig(_Images):
        """See below."""

else:
    ContainerConfig = create_model("ContainerConfig", __base__=_Containers, **_DOCKER)
    ContainerConfig.__doc__ = (
        "A container (or several) that is made for each DAG run, on this machine or, with `wraps`, on the host of an"
        " `ssh` deployment; if it wraps a queue system, the image in which its jobs run."
    )
    ApptainerConfig = create_model("ApptainerConfig", __base__=_Images, **_SINGULARITY)
    ApptainerConfig.__doc__ = (
        "An image in which jobs run, each in a container of its own: on this machine, or with `wraps` on an SSH host or"
        " in the jobs of a queue system."
    )


class CharliecloudConfig(Model):
    """An image in which jobs run, each in a container of its own. (airflow_hybrid)"""

    image: ImageNameOrPath = Field(
        description="The image: a name to pull, or the path of a root file system's folder at the location."
    )
    bind: list[NonEmpty] = Field(default_factory=list, description="Folders to mount: `/data`, `/data:/inside`.")
