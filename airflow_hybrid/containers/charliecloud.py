# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Charliecloud: an image is a folder in the location's work directory, visible to all of its nodes.

It isolates less than other runtimes: there is no entrypoint, and mounts are never read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_hybrid.containers.base import ImageFiles, ImagePaths, quoted
from airflow_hybrid.errors import UnsupportedError
from airflow_hybrid.model.containers import Container, ImageSource

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Charliecloud(ImageFiles):
    """https://hpc.github.io/charliecloud/ch-run.html"""

    name = "charliecloud"
    client = "ch-run"
    kind = "folder"
    makes_mountpoints = False

    def usable(self) -> str:
        return (
            "command -v ch-image >/dev/null && unshare --user --map-current-user --net true && "
            "USER=${USER:-$(id -un)} ch-run --version 2>&1"
        )

    def refuse(self, source: ImageSource) -> None:
        if source.load is not None and not source.pull:
            raise self.cannot("dockerLoad", "give the image as dockerPull, or its root file system as dockerImport")

    def present(self, reference: str) -> str:
        return f"[ -d {quoted(reference)} ]"

    def make(self, source: ImageSource, paths: ImagePaths, new: str) -> str:
        if source.file is None and source.root is not None:
            # what docker imports: the archive of a root file system, perhaps compressed
            make = f"mkdir -p {quoted(new)} && tar -xf {quoted(paths.archive or '')} -C {quoted(new)} --exclude=./dev/*"
            make += f" && (cd {quoted(new)} && mkdir -p ch dev proc sys tmp && touch ch/environment)"
        else:
            # an image that ch-image already has (built or imported by hand) needs no registry
            name = source.image_id or source.pull or f"airflow_hybrid:{source.digest}"
            if source.file is not None:
                name = f"airflow_hybrid:{source.digest}"
                build = quoted("ch-image", "build", "-t", name, "-f", "-")
                get = f'printf %s {quoted(source.file)} | {build} "$(mktemp -d)"'
            else:
                get = quoted("ch-image", "pull", source.pull or name)
                get = f"{{ ch-image list {quoted(name)} 2>/dev/null | grep -q 'in local storage: *yes' || {get}; }}"
            make = f"{get} && {quoted('ch-convert', '-i', 'ch-image', '-o', 'dir', name, new)}"
        # it always mounts these
        return f"{make} && (cd {quoted(new)} && mkdir -p etc && touch etc/passwd etc/group)"

    def argv(
        self, container: Container, name: str, environment: Mapping[str, str], command: Sequence[str]
    ) -> list[str]:
        image = container.image
        inside = {"PATH": PATH, **environment}
        argv = [*container.launcher]
        if not container.network:
            argv += ["unshare", "--user", "--map-current-user", "--net"]
        # ch-run needs a user name, which not every job has; it does not reach the container
        argv += ["env", "USER=user", "ch-run", "--unset-env=*", "--set-env", "--env-no-expand"]
        # ch-run removes one pair of quotes
        argv += [f"--set-env={key}='{value}'" for key, value in inside.items()]
        for mount in container.mounts:
            for path in (mount.source, mount.target):
                if ":" in path:
                    raise UnsupportedError(f"charliecloud cannot mount {path!r}: its name has a colon")
            argv.append(f"--bind={mount.source}:{mount.target}")
        return [*argv, f"--cd={container.outdir}", *image.options, image.reference, "--", *command]
