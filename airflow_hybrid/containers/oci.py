# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""docker and podman: one command line, two ways to set the user.

Semantics are those of cwltool's ``DockerCommandLineJob``: only the mounts are writable, there is no network unless the
job asks for it, the job has the caller's uid, and the image's entrypoint is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_hybrid.containers.base import ImagePaths, Runtime, mount_option, quoted
from airflow_hybrid.model.containers import Container, ImageSource, ReadyImage

OWN_IMAGES = "localhost/airflow_hybrid"
"""repository of the images that are made here"""


class _Oci(Runtime):
    removes = True
    rm = True
    """``run --rm`` removes a container that has ended, and still knows its exit code"""

    def reference(self, source: ImageSource, paths: ImagePaths) -> str:
        if source.file or (not source.image_id and not source.pull):
            return f"{OWN_IMAGES}:{source.digest}"
        return source.image_id or source.pull or ""

    def present(self, reference: str) -> str:
        return f"{quoted(self.client, 'image', 'inspect', '--', reference)} >/dev/null 2>&1"

    def obtain(self, source: ImageSource, paths: ImagePaths) -> str:
        reference = self.reference(source, paths)
        if source.file is not None:
            build = quoted(self.client, "build", "-t", reference, "-")
            text = f"printf %s {quoted(source.file)} | {build}"
            return (
                f"{text} && {quoted(self.client, 'tag', '--', reference, source.image_id)}" if source.image_id else text
            )
        if source.pull is not None:
            pull = quoted(self.client, "pull", "--", source.pull)
            same = source.image_id in (None, source.pull)
            return pull if same else f"{pull} && {quoted(self.client, 'tag', '--', source.pull, reference)}"
        if source.load is not None:
            load = quoted(self.client, "load", "-i", paths.archive or "")
            if source.image_id:
                return load
            # "Loaded image: NAME", "Loaded image ID: sha256:..." or, of older podmen, "Loaded image(s): NAME"
            return (
                f'ah_said=$({load}) && echo "$ah_said" && ah_loaded=$(echo "$ah_said" | sed -n '
                f"'s/^Loaded image[^:]*: *//p' | tail -n 1 | sed 's/,.*//') && [ -n \"$ah_loaded\" ] && "
                f'{self.client} tag -- "$ah_loaded" {quoted(reference)}'
            )
        if source.root is not None:
            return quoted(self.client, "import", "--", paths.archive or "", reference)
        return "echo 'the image is not there, and the document does not say where to get it' >&2; false"

    def save(self, reference: str, archive: str) -> str | None:
        return quoted(self.client, "save", "-o", archive, "--", reference)

    def load(self, archive: str) -> str:
        return quoted(self.client, "load", "-i", archive)

    def argv(
        self, container: Container, name: str, environment: Mapping[str, str], command: Sequence[str]
    ) -> list[str]:
        image = container.image
        argv = [*container.launcher, self.client, "run", "-i"]
        if self.rm or container.launcher:
            argv.append("--rm")
        if not container.launcher:
            argv.append(f"--name={name}")
        argv += ["--pull=never", "--log-driver=none", "--read-only", *self.identity(image)]
        argv += [f"--workdir={container.outdir}"]
        argv += [f"--mount={mount_option(mount)}" for mount in container.mounts]
        argv += [f"--env={key}={value}" for key, value in environment.items()]
        if not container.network:
            argv.append("--network=none")
        elif image.network and not any(option.startswith("--network") for option in image.options):
            # the host's network: a process of the host has it, too, and rootless containers may have no other installed
            argv.append("--network=host")
        if container.gpus:
            argv += self.gpus(container.gpus)
        if container.shm_size:
            argv.append(f"--shm-size={container.shm_size}")
        return [*argv, *image.options, "--", image.reference, *command]

    def identity(self, image: ReadyImage) -> list[str]:
        raise NotImplementedError

    def gpus(self, count: int) -> list[str]:
        raise NotImplementedError


class Docker(_Oci):
    """https://docs.docker.com/reference/cli/docker/container/run/"""

    name = client = "docker"
    # docker's client on podman's API (4.3) loses the exit code with `--rm`: the job removes the container afterwards
    rm = False

    def usable(self) -> str:
        # a client without a daemon is useless; `docker` may be podman under another name, and behaves like podman
        return (
            "case $(docker --version 2>/dev/null) in *podman*) echo 'docker is podman here' >&2; false ;; *) "
            "ah_v=$(docker info --format '{{.ServerVersion}} {{.SecurityOptions}}') && [ -n \"${ah_v%% *}\" ] && "
            'case $ah_v in *name=rootless*) echo "${ah_v%% *} rootless" ;; *) echo "${ah_v%% *}" ;; esac ;; esac'
        )

    def identity(self, image: ReadyImage) -> list[str]:
        # in containers of a rootless daemon, root is the user who runs the daemon
        return ["--user=0:0" if image.rootless else f"--user={image.user}"]

    def gpus(self, count: int) -> list[str]:
        return [f"--gpus={count}"]


class Podman(_Oci):
    """https://docs.podman.io/en/latest/markdown/podman-run.1.html"""

    name = client = "podman"

    def usable(self) -> str:
        return (
            "ah_v=$(podman info --format '{{.Version.Version}} {{.Host.Security.Rootless}}') && "
            'case $ah_v in *true) echo "${ah_v%% *} rootless" ;; *) echo "${ah_v%% *}" ;; esac'
        )

    def identity(self, image: ReadyImage) -> list[str]:
        keep = ["--userns=keep-id"] if image.rootless else []
        return [*keep, f"--user={image.user}"]

    def gpus(self, count: int) -> list[str]:
        return [f"--device=nvidia.com/gpu={number}" for number in range(count)]
