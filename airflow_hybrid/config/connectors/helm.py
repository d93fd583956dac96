# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``helm`` (``helm3``, ``helm4``): a chart that is installed for a DAG run; StreamFlow's keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from airflow_hybrid.config.base import Duration, NonEmpty, one_or_many
from airflow_hybrid.config.connectors.cluster import ClusterAccess

_NO_EFFECT = "Accepted; has no effect."
_KUBECONFIG = "say it in a kubeconfig, and give `kubeconfig` (and `kubeContext`)"
_CREDENTIALS = "log in with `helm registry login`, or fetch the chart and give its path"
_PLAIN = "the chart is installed with Helm's defaults"
_NOT_HERE = {
    **dict.fromkeys(
        (
            "kubeApiserver", "kubeAsGroup", "kubeAsUser", "kubeCaFile", "kubeInsecureSkipTLSVerify",
            "kubeTLSServerName", "kubeToken",
        ),
        _KUBECONFIG,
    ),
    **dict.fromkeys(
        (
            "caFile", "certFile", "insecureSkipTLSVerify", "keyFile", "passCredentials", "password", "registryConfig",
            "repositoryCache", "repositoryConfig", "username", "contentCache",
        ),
        _CREDENTIALS,
    ),
    **dict.fromkeys(("keyring", "verify"), "verify the chart where it is fetched, and give its path"),
    "dependencyUpdate": "call `helm dependency update` on the chart once",
    "devel": "give `chartVersion`",
    **dict.fromkeys(("generateFlag", "nameTemplate"), "leave out `releaseName`: each run has a name of its own"),
    **dict.fromkeys(
        (
            "disableOpenapiValidation", "enableDns", "force", "forceConflicts", "forceReplace", "noHooks",
            "postRenderer", "postRendererArgs", "replace", "serverSide", "skipCrds", "skipSchemaValidation",
            "takeOwnership",
        ),
        _PLAIN,
    ),
    "keepHistory": "what is deployed for a run is removed with it",
}  # fmt: skip
"""StreamFlow's keys that are not supported; they are ignored if they ask for the default."""
_DEFAULTS = {"serverSide": True}

Files = Annotated[list[NonEmpty], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])]
Expressions = Files


def _tell_the_schema(schema: dict[str, Any]) -> None:
    for key in _NOT_HERE:
        schema["properties"][key] = {"enum": [None, [], _DEFAULTS.get(key, False)], "description": "Not supported."}


class HelmConfig(ClusterAccess):
    """A chart, installed for each DAG run by Helm's own library (extra `helm`).

    A step is bound to a container of the release's pods, by its name.
    """

    model_config = ConfigDict(json_schema_extra=_tell_the_schema)

    chart: NonEmpty = Field(
        description="A folder or archive, relative to the hybrid file; `oci://...`; or with `repo` a name there."
    )
    chartVersion: NonEmpty | None = Field(None, description="Version, for a chart of a repository or registry.")
    repo: NonEmpty | None = Field(None, description="URL of the chart's repository.")
    plainHttp: bool = Field(False, description="The registry speaks HTTP.")
    releaseName: NonEmpty | None = Field(None, description="Default: a name of the run's own.")
    namespace: NonEmpty | None = Field(
        None, description="Default: each run has its own, which is deleted with everything in it."
    )
    createNamespace: bool = Field(False, description="Create `namespace` if it is missing; it is not removed.")
    values: dict[str, Any] = Field(default_factory=dict, description="Values, in place. (airflow_hybrid)")
    yamlValues: Files = Field(
        default_factory=list,
        description="Files with values, relative to the hybrid file; `values` take precedence over them.",
    )
    commandLineValues: Expressions = Field(
        default_factory=list,
        description="As of `helm --set`: `replicas=2,image.tag=v2`; they take precedence over files.",
    )
    stringValues: Expressions = Field(default_factory=list, description="As of `helm --set-string`.")
    fileValues: Expressions = Field(default_factory=list, description="As of `helm --set-file`; absolute paths.")
    setJson: Expressions = Field(default_factory=list, description="As of `helm --set-json`.")
    setLiteral: Expressions = Field(default_factory=list, description="As of `helm --set-literal`.")
    description: NonEmpty | None = Field(None, description="Of the release.")
    labels: NonEmpty | None = Field(None, description="Of the release: `key1=val1,key2=val2`.")
    timeout: Duration | None = Field(None, description="How long the release may take to come up; default 10m.")
    wait: bool | Literal["hookOnly", "legacy", "watcher"] = Field(
        True, description="Wait until all pods are ready (`false`, `hookOnly`: only for hooks)."
    )
    atomic: bool = Field(True, description="Accepted; what fails half-way is always rolled back.")
    rollbackOnFailure: bool = Field(True, description="Accepted; what fails half-way is always rolled back.")
    cascade: Literal["background", "foreground", "orphan"] | None = Field(None, description=_NO_EFFECT)
    burstLimit: int | None = Field(None, description=_NO_EFFECT)
    queriesPerSecond: float | None = Field(None, strict=False, description=_NO_EFFECT)
    debug: bool = Field(False, description=_NO_EFFECT)
    hideNotes: bool = Field(False, description=_NO_EFFECT)
    renderSubchartNotes: bool = Field(False, description=_NO_EFFECT)
    output: NonEmpty | None = Field(None, description=_NO_EFFECT)
    waitForJobs: bool = Field(False, description=_NO_EFFECT)
    locationsCacheTTL: int | None = Field(None, description=_NO_EFFECT)
    resourcesCacheTTL: int | None = Field(None, description=_NO_EFFECT)
    transferBufferSize: int | None = Field(None, description=_NO_EFFECT)

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, config: Any) -> Any:
        if not isinstance(config, dict):
            return config
        for key, instead in _NOT_HERE.items():
            if config.get(key) not in (None, [], _DEFAULTS.get(key, False)):
                raise ValueError(f"`{key}` is not supported: {instead}")
        if _NOT_HERE.keys() & config.keys():
            return {key: value for key, value in config.items() if key not in _NOT_HERE}
        return config
