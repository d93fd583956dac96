# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Apptainer and SingularityCE: an image is a file (SIF) in the location's work directory, visible to all of its nodes.

Semantics are those of cwltool's ``SingularityCommandLineJob``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_hybrid.containers.base import ImageFiles, ImagePaths, mount_option, quoted
from airflow_hybrid.model.containers import Container, ImageSource

_RUNS = {"apptainer": (1, 1), "singularity": (3, 10)}
"""first version whose `run --no-eval` passes arguments to an image's entrypoint unchanged"""


class Apptainer(ImageFiles):
    """https://apptainer.org/docs/user/main/cli/apptainer_run.html"""

    suffix = ".sif"

    def __init__(self, client: str = "apptainer") -> None:
        self.name = self.client = client

    def usable(self) -> str:
        # "apptainer version 1.3.4", "singularity-ce version 4.1.0"
        return f"{self.client} --version | sed -n 's/.* version \\([0-9.]*\\).*/\\1/p' | grep ."

    def refuse(self, source: ImageSource) -> None:
        if source.file is not None and not source.pull:
            raise self.cannot("a dockerFile", "give the image as dockerPull, or run the step where docker or podman is")
        if source.root is not None and not source.pull:
            raise self.cannot("dockerImport", "give the image as dockerPull or dockerLoad")

    def present(self, reference: str) -> str:
        return f"[ -e {quoted(reference)} ]"

    def make(self, source: ImageSource, paths: ImagePaths, new: str) -> str:
        if source.load is not None:
            origin = f"docker-archive:{paths.archive}"
        else:
            origin = _docker_uri(source.pull or source.image_id or "")
        return quoted(self.client, "build", "--force", "--", new, origin)

    def argv(
        self, container: Container, name: str, environment: Mapping[str, str], command: Sequence[str]
    ) -> list[str]:
        image = container.image
        runs = image.version[:2] >= _RUNS[self.name]
        # `--env` splits its value at commas; a variable with this prefix is set in the container, whatever its value
        prefix = "APPTAINERENV_" if self.name == "apptainer" else "SINGULARITYENV_"
        argv = [
            "env", *(f"{prefix}{key}={value}" for key, value in environment.items() if key != "HOME"),
            *container.launcher, self.client, "--quiet", "run" if runs else "exec",
            "--contain", "--ipc", "--pid", "--cleanenv", *(["--no-eval"] if runs else []),
        ]  # fmt: skip
        for mount in container.mounts:
            if mount.target == container.outdir:
                argv += ["--home", f"{mount.source}:{mount.target}"]
            else:
                argv += ["--mount", mount_option(mount)]
        argv += ["--pwd", container.outdir]
        if not container.network:
            argv += ["--net", "--network", "none"]
        if container.gpus:
            argv.append("--nv")
        return [*argv, *image.options, "--", image.reference, *command]


def _docker_uri(name: str) -> str:
    """``debian:12`` -> ``docker://debian:12``; a name with a scheme (``library://``, ``oras://``) stays as it is."""
    return name if "://" in name else f"docker://{name}"
