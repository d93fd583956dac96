# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``kubernetes``: a namespace of a cluster, whose pods hold files and run jobs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from airflow_hybrid.config.base import Model, NonEmpty
from airflow_hybrid.config.connectors.cluster import ClusterAccess
from airflow_hybrid.config.connectors.containers import ImageName

_NO_EFFECT = "Accepted; has no effect."


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path


class PodOptions(Model):
    """Fields of a pod by Kubernetes' own names; other fields go into a template (`file`)."""

    image: ImageName | None = Field(None, description="Container image; it needs a POSIX shell.")
    imagePullPolicy: NonEmpty | None = Field(None, description="`Always`, `IfNotPresent` or `Never`.")
    imagePullSecrets: list[dict[str, str]] | None = Field(None, description="`[{name: ...}]`.")
    resources: dict[NonEmpty, dict[NonEmpty, str | int | float]] | None = Field(
        None,
        description="`{requests: {cpu: 500m}, limits: {nvidia.com/gpu: 1}}`; takes precedence over the document.",
    )
    nodeSelector: dict[NonEmpty, str] | None = Field(None, description="Labels that the node must have.")
    tolerations: list[dict[str, Any]] | None = Field(None, description="Taints that the pods tolerate.")
    affinity: dict[str, Any] | None = Field(None, description="Rules about nodes and other pods.")
    serviceAccountName: NonEmpty | None = Field(None, description="Service account of the pods.")
    automountServiceAccountToken: bool | None = Field(None, description="Whether the pods see its token.")
    priorityClassName: NonEmpty | None = Field(None, description="Priority class.")
    runtimeClassName: NonEmpty | None = Field(None, description="Runtime class.")
    schedulerName: NonEmpty | None = Field(None, description="A scheduler other than the default.")
    securityContext: dict[str, Any] | None = Field(None, description="Of the pod: `{runAsUser: 1000, fsGroup: 1000}`.")
    env: list[dict[str, Any]] | None = Field(None, description="Environment of the container, as in a manifest.")
    envFrom: list[dict[str, Any]] | None = Field(None, description="Environment from config maps and secrets.")
    labels: dict[NonEmpty, str] | None = Field(None, description="Further labels.")
    annotations: dict[NonEmpty, str] | None = Field(None, description="Further annotations.")


class KubernetesService(PodOptions):
    """How a batch runs as an Indexed Job; or, with `pod` or `selector`, existing pods."""

    file: NonEmpty | None = Field(
        None, description="Path of a Jinja2 template of a Pod, PodTemplate or Job in YAML, which the options add to."
    )
    container: NonEmpty | None = Field(
        None, description="Name of the container that runs the jobs. Default: the first."
    )
    maxConcurrentJobs: int | None = Field(None, ge=1, description="Pods of one batch at a time. Default: 500.")
    ttlSecondsAfterFinished: int | None = Field(
        None, ge=0, description="Seconds that a Job with failures is kept for inspection. Default: 3600."
    )
    activeDeadlineSeconds: int | None = Field(None, ge=1, description="Maximum seconds of a whole Job.")
    startTimeout: int | None = Field(
        None,
        ge=1,
        description="Seconds after which a batch fails whose image or configuration is not found. Default: 300.",
    )
    pod: NonEmpty | None = Field(None, description="Name of an existing pod: used like a host.")
    selector: dict[NonEmpty, str] | NonEmpty | None = Field(
        None, description="Labels of existing pods; each is a location."
    )
    cores: int | None = Field(
        None, ge=1, description="Jobs of one core at a time in such a pod. Default: all of its cores."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> KubernetesService:
        if self.pod is not None and self.selector is not None:
            raise ValueError("give `pod` or `selector`, not both")
        if self.pod is None and self.selector is None:
            if self.cores is not None:
                raise ValueError("`cores` is for existing pods (`pod`, `selector`)")
            return self
        ours = {"pod", "selector", "container", "cores"}
        if extra := sorted(self.model_fields_set - ours):
            raise ValueError(f"an existing pod cannot be changed: `{extra[0]}` has no meaning for it")
        return self


class KubernetesStorage(PodOptions):
    """The volume that all jobs of the deployment share, and the small pod through which its files are reached."""

    claim: NonEmpty = Field(description="Name of a PersistentVolumeClaim (ReadWriteMany, unless there is one node).")
    mountPath: Annotated[NonEmpty, AfterValidator(_absolute)] = Field(
        "/airflow_hybrid", description="Where it is mounted."
    )
    subPath: NonEmpty | None = Field(None, description="Folder of the volume that is mounted.")
    idle: int = Field(600, ge=30, description="Seconds without use after which the service pod ends itself.")


class KubernetesConfig(ClusterAccess):
    """A namespace of a cluster."""

    namespace: NonEmpty | None = Field(None, description="Default: that of the context.")
    storage: KubernetesStorage | None = Field(None, description="Files of the jobs. (airflow_hybrid)")
    services: dict[NonEmpty, KubernetesService] = Field(
        default_factory=dict, description="Name -> how to run a batch, or which pods. (airflow_hybrid)"
    )
    files: list[NonEmpty] | None = Field(None, description="Manifests, in the order in which they are deployed.")
    maxConcurrentJobs: int | None = Field(None, ge=1, description="Pods of one batch at a time. (airflow_hybrid)")
    pollingInterval: int | None = Field(
        None, ge=1, description="Longest time between two checks of exit codes, in seconds. (airflow_hybrid)"
    )
    debug: bool = Field(False, description=_NO_EFFECT)
    locationsCacheSize: int = Field(10, ge=1, description=_NO_EFFECT)
    locationsCacheTTL: int = Field(10, ge=1, description=_NO_EFFECT)
    resourcesCacheSize: int = Field(10, ge=1, description=_NO_EFFECT)
    resourcesCacheTTL: int = Field(10, ge=1, description=_NO_EFFECT)
    timeout: int = Field(60000, ge=1, description="Maximum seconds for deploying the manifests.")
    transferBufferSize: int = Field(33554431, ge=1, description=_NO_EFFECT)
    wait: bool = Field(True, description="Wait until the pods of the manifests are ready.")

    @model_validator(mode="after")
    def _has_a_place(self) -> KubernetesConfig:
        jobs = [name for name, s in self.services.items() if s.pod is None and s.selector is None]
        if self.storage is None and jobs:
            raise ValueError(f"service `{jobs[0]}` needs `storage`: a claim that its jobs share")
        return self
