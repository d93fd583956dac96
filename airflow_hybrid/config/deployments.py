# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of ``deployments.<name>``: a base class, and one class per type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from airflow_hybrid.config.base import Model, NonEmpty
from airflow_hybrid.config.connectors import (
    SUPPORTED_TYPES,
    ApptainerConfig,
    CharliecloudConfig,
    ComposeConfig,
    ContainerConfig,
    FluxConfig,
    HelmConfig,
    KubernetesConfig,
    LocalConfig,
    PbsConfig,
    SgeConfig,
    SlurmConfig,
    SshConfig,
)
from airflow_hybrid.config.containers import ContainersNode


class WrapsModel(Model):
    """The deployment that another one wraps."""

    deployment: NonEmpty = Field(description="Name of the wrapped deployment.")
    service: NonEmpty | None = Field(None, description="One of its services.")


def _as_name(value: Any) -> Any:
    return {"deployment": value} if isinstance(value, str) else value


class DeploymentBase(Model):
    """One execution environment."""

    workdir: NonEmpty | None = Field(None, description="Folder at the location for jobs and data.")
    wraps: Annotated[WrapsModel, BeforeValidator(_as_name, json_schema_input_type=str | WrapsModel)] | None = Field(
        None, description="The deployment that this one wraps, so works inside of; default: this machine."
    )
    external: bool = Field(False, description="It exists already and is neither deployed nor undeployed.")
    lazy: bool = Field(True, description="Deployed when first needed.")
    scheduling_policy: NonEmpty | None = Field(None, description="Policy that picks among its locations.")
    price_per_core_hour: float | None = Field(
        None, ge=0, strict=False, description="For the policy `cost`: price per core and hour. (airflow_hybrid)"
    )
    containers: ContainersNode | None = Field(
        None,
        description="The runtime of containers of steps with a DockerRequirement: its name, or a mapping."
        " Default: that of the wrapped deployment, else `auto`. (airflow_hybrid)",
    )
    reuse: bool | None = Field(
        None,
        description="`true`: outputs of the same jobs of other runs are reused instead of running them here; `false`:"
        " never. Default: that of the wrapped deployment, else as the workflow says. (airflow_hybrid)",
    )
    fuse: Literal["chains", False] | None = Field(
        None,
        description="`chains`: steps that follow each other here run as one Airflow task; `false`: they do not, nor do"
        " expressions and their readers."
        " Default: that of the wrapped deployment, else as the workflow says. (airflow_hybrid)",
    )
    deferrable: bool | None = Field(
        None,
        description="Follow its jobs in the triggerer (`true`) or the worker (`false`). Default: the worker for"
        " `local`, and for what wraps a `local` deployment with a `queue`; else the triggerer. (airflow_hybrid)",
    )


class LocalDeployment(DeploymentBase):
    """This machine."""

    type: Literal["local"] = Field(description="`local`")
    config: LocalConfig = Field(default_factory=LocalConfig, description="Options.")


class SshDeployment(DeploymentBase):
    """Hosts by SSH."""

    type: Literal["ssh"] = Field(description="`ssh`")
    config: SshConfig = Field(description="Options.")


class SlurmDeployment(DeploymentBase):
    """A Slurm cluster."""

    type: Literal["slurm"] = Field(description="`slurm`")
    config: SlurmConfig = Field(default_factory=SlurmConfig, description="Options.")


class ComposeDeployment(DeploymentBase):
    """The services of a compose file."""

    type: Literal["docker-compose"] = Field(description="`docker-compose`")
    config: ComposeConfig = Field(description="Options.")


class PbsDeployment(DeploymentBase):
    """A PBS cluster."""

    type: Literal["pbs"] = Field(description="`pbs`")
    config: PbsConfig = Field(default_factory=PbsConfig, description="Options.")


class SgeDeployment(DeploymentBase):
    """A Grid Engine cluster."""

    type: Literal["sge"] = Field(description="`sge`")
    config: SgeConfig = Field(default_factory=SgeConfig, description="Options.")


class FluxDeployment(DeploymentBase):
    """A Flux instance."""

    type: Literal["flux"] = Field(description="`flux`")
    config: FluxConfig = Field(default_factory=FluxConfig, description="Options.")


class KubernetesDeployment(DeploymentBase):
    """A namespace of a Kubernetes cluster."""

    type: Literal["kubernetes"] = Field(description="`kubernetes`")
    config: KubernetesConfig = Field(default_factory=KubernetesConfig, description="Options.")


class HelmDeployment(DeploymentBase):
    """A release of a Helm chart."""

    type: Literal["helm", "helm3", "helm4"] = Field(description="`helm`, or StreamFlow's `helm3` and `helm4`")
    config: HelmConfig = Field(description="Options.")


class ContainerDeployment(DeploymentBase):
    """A container."""

    type: Literal["docker", "podman"] = Field(description="`docker` or `podman`")
    config: ContainerConfig = Field(description="Options.")


class ApptainerDeployment(DeploymentBase):
    """An image in which jobs run."""

    type: Literal["singularity", "apptainer"] = Field(description="`singularity` or `apptainer`")
    config: ApptainerConfig = Field(description="Options.")


class CharliecloudDeployment(DeploymentBase):
    """An image in which jobs run."""

    type: Literal["charliecloud"] = Field(description="`charliecloud`")
    config: CharliecloudConfig = Field(description="Options.")


class OtherDeployment(DeploymentBase):
    """A StreamFlow type that this version does not have, or a type of another package."""

    type: NonEmpty = Field(description="Any other type.", json_schema_extra={"not": {"enum": list(SUPPORTED_TYPES)}})
    config: dict[str, Any] = Field(default_factory=dict, description="Options; not checked.")


_MODEL_OF = {"podman": "docker", "apptainer": "singularity", "helm3": "helm", "helm4": "helm"}
"""types that share the model of another"""


def _deployment_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{_MODEL_OF.get(str(kind), kind)}>" if kind in SUPPORTED_TYPES else "<other>"


DeploymentNode = Annotated[
    Annotated[LocalDeployment, Tag("<local>")]
    | Annotated[SshDeployment, Tag("<ssh>")]
    | Annotated[SlurmDeployment, Tag("<slurm>")]
    | Annotated[ComposeDeployment, Tag("<docker-compose>")]
    | Annotated[PbsDeployment, Tag("<pbs>")]
    | Annotated[SgeDeployment, Tag("<sge>")]
    | Annotated[FluxDeployment, Tag("<flux>")]
    | Annotated[KubernetesDeployment, Tag("<kubernetes>")]
    | Annotated[HelmDeployment, Tag("<helm>")]
    | Annotated[ContainerDeployment, Tag("<docker>")]
    | Annotated[ApptainerDeployment, Tag("<singularity>")]
    | Annotated[CharliecloudDeployment, Tag("<charliecloud>")]
    | Annotated[OtherDeployment, Tag("<other>")],
    Discriminator(_deployment_kind),
]
