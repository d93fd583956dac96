# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers in the hybrid file: their runtimes, and StreamFlow's options of docker and singularity as arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from airflow_hybrid.config.base import Model, NonEmpty
from airflow_hybrid.model import image_names

OF_STREAMFLOW: Mapping[str, str] = {
    "docker": "docker",
    "singularity": "singularity",
    "no-container": "none",
    "none": "none",
    "podman": "podman",
    "apptainer": "apptainer",
    "charliecloud": "charliecloud",
}
"""``config.docker[].deployment.type`` -> runtime; the last three are ours"""
NOT_OPTIONS = frozenset(
    {
        "cidfile", "command", "containerId", "containerIds", "cores", "deployTimeout", "detachKeys", "image",
        "instanceName", "instanceNames", "locationsCacheSize", "locationsCacheTTL", "pidFile", "replicas",
        "resourcesCacheSize", "resourcesCacheTTL", "restart", "rm", "sharedPaths", "sigProxy", "transferBufferSize",
        "workdir",
    }
)  # fmt: skip
"""keys of StreamFlow's docker and singularity that we set ourselves, or that are not arguments of the program"""


def _image_folder(path: str) -> str:
    problem = image_names.path_problem(path)
    if problem:
        raise ValueError("must be a normal absolute path, and not `/`")
    return path.rstrip("/")


def _image_name(name: str) -> str:
    problem = image_names.name_problem(name)
    if problem:
        raise ValueError(problem)
    return name


class ContainersModel(Model):
    """How the containers of a deployment's jobs are run. (airflow_hybrid)"""

    runtime: Literal["auto", "docker", "podman", "apptainer", "singularity", "charliecloud", "none"] = Field(
        "auto",
        description="The runtime. `auto`: the first of these that is usable there, in this order. `none`: steps run"
        " without a container; a step that requires one fails.",
    )
    options: list[NonEmpty] = Field(
        default_factory=list, description="More arguments for the runtime, before the image: `[--gpus=all]`."
    )
    required: bool = Field(
        False,
        description="Every job runs in a container; a step that asks for none is refused unless `image` is given here.",
    )
    image: Annotated[NonEmpty, AfterValidator(_image_name)] | None = Field(
        None,
        description="Image, to be pulled, for steps that ask for none.",
    )
    images: list[Annotated[NonEmpty, AfterValidator(_image_folder)]] = Field(
        default_factory=list,
        description="Folders at the location, besides `<workdir>/images`, with image files of apptainer, singularity or"
        " charliecloud that a document may name by their paths (`dockerImageId: /images/tool.sif`).",
    )


def _as_containers(value: Any) -> Any:
    return {"runtime": value} if isinstance(value, str) else value


ContainersNode = Annotated[
    ContainersModel, BeforeValidator(_as_containers, json_schema_input_type=str | ContainersModel)
]


def arguments(config: Mapping[str, Any]) -> list[str]:
    """StreamFlow's options as arguments: ``{addHost: [a:1], privileged: true}`` -> ``--add-host=a:1 --privileged``."""
    words = []
    for key, value in config.items():
        if key in NOT_OPTIONS or value is None:
            continue
        flag = "--" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", key).lower()
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool):
                words += [flag] if item else []
            else:
                words.append(f"{flag}={item}")
    return words
