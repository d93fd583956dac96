# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Container images at a location: finds its runtime, and brings each image there once.

Whoever needs an image that is just being fetched waits: within this process for the same asyncio task, in other
processes (another worker, another DAG run) for the lock beside the image.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import shlex
import weakref
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_hybrid import settings, shell_text
from airflow_hybrid.containers import RUNTIMES, ImagePaths, Runtime, detect
from airflow_hybrid.errors import SiteError, UnsupportedError
from airflow_hybrid.model.containers import OUTDIR, ImageSource, ReadyImage
from airflow_hybrid.printable import printable
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.hosts import claims
from airflow_hybrid.sites.hosts.base import PROGRAM_BYTES, Host, answers_up_to

log = logging.getLogger(__name__)
T = TypeVar("T")

FOLDER = "images"
"""folder of the work directory: locks, logs, and the images of runtimes that keep them as files"""
_SAME = {"apptainer": ("apptainer", "singularity"), "singularity": ("singularity", "apptainer")}
"""two names of one program: if only the other one is installed, it is used"""
_KNOWN: weakref.WeakKeyDictionary[Host, dict[Any, asyncio.Task[Any]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class ContainerSettings:
    """What the hybrid file says about the containers of a deployment or of a step.

    :ivar runtime: name of a runtime, ``auto`` or ``none``.
    :ivar options: more arguments for the runtime.
    :ivar network: every job has network access, whether it asks for it or not.
    :ivar required: a job without a container is refused; ``image``: name of the image for steps that ask for none.
    :ivar folders: absolute paths of folders at the location with image files that documents may name by path.
    """

    runtime: str = "auto"
    options: tuple[str, ...] = ()
    network: bool = False
    folders: tuple[str, ...] = ()
    required: bool = False
    image: str | None = None


async def find_runtime(host: Host, settings: ContainerSettings) -> detect.DetectedRuntime:
    """Which runtime a location has; asked once per host and process.

    :raises SiteError: the location did not answer.
    """
    names = tuple(RUNTIMES) if settings.runtime == "auto" else _SAME.get(settings.runtime, (settings.runtime,))

    async def ask() -> detect.DetectedRuntime:
        answer = await host.run(detect.command(RUNTIMES[name] for name in names), label="look for a container runtime")
        try:
            return detect.parse(answer.out)
        except ValueError as error:
            raise SiteError(f"the search for a container runtime failed: {error}", where=host.title) from None

    return await _once(host, names, ask())


@dataclass(frozen=True)
class ImageStorage:
    """Where a location's images come from and go to.

    :ivar workdir: the deployment's work directory.
    :ivar elsewhere: jobs run on hosts other than the location, which see its work directory but not its images.
    :ivar archive: absolute path, at the location, of what ``dockerLoad`` or ``dockerImport`` names.
    """

    workdir: str
    elsewhere: bool
    archive: str | None = None


async def ready_image(
    host: Host, source: ImageSource, settings: ContainerSettings, storage: ImageStorage
) -> ReadyImage | None:
    """Bring the image to the location, unless it is there. None: the job runs without a container.

    :raises UnsupportedError: a container is required and there is no runtime, or it cannot make such an image.
    :raises SiteError: the image is unavailable, in the runtime's own words.
    """
    if settings.runtime == "none":
        if source.required:
            raise UnsupportedError(
                f"the step requires a container ({source.title}), and `containers` of deployment {host.deployment!r} "
                "is `none`",
                where=host.title,
                hint="name a runtime there, bind the step to another deployment, or make DockerRequirement a hint",
            )
        return None
    detected = await find_runtime(host, settings)
    if detected.runtime is None:
        if source.required or settings.runtime != "auto":
            raise _no_runtime(host, source, settings, detected)
        return None
    runtime = RUNTIMES[detected.runtime]
    paths = ImagePaths(posixpath.join(storage.workdir, FOLDER), storage.archive, settings.folders)
    reference = runtime.reference(source, paths)
    archived = await obtain(host, runtime, source, paths, elsewhere=storage.elsewhere)
    return ReadyImage(
        detected.runtime,
        reference,
        detected.user,
        rootless=detected.rootless,
        version=detected.version,
        options=settings.options,
        archive=archived,
        outdir=posixpath.normpath(posixpath.join("/", source.output_directory or OUTDIR)),
        network=settings.network,
    )


async def obtain(
    host: Host, runtime: Runtime, source: ImageSource, paths: ImagePaths, *, elsewhere: bool = False
) -> str | None:
    """Bring an image to a location, unless it is there; -> path of an archive of it, if ``elsewhere`` needs one.

    :raises SiteError: the image is unavailable, in the runtime's own words.
    """
    shared = posixpath.join(paths.folder, f"{source.digest}.tar") if elsewhere else None
    key = (paths, runtime.name, source.digest, source.of_document, shared)
    return await _once(host, key, _obtain(host, runtime, source, paths, shared))


async def _obtain(
    host: Host, runtime: Runtime, source: ImageSource, paths: ImagePaths, shared: str | None
) -> str | None:
    reference = runtime.reference(source, paths)
    save = runtime.save(reference, f"{shared}.new") if shared else None
    command = obtain_command(runtime, source, paths, reference, shared if save else None)
    with answers_up_to(PROGRAM_BYTES):
        answer = await host.run(
            command, timeout_s=settings.current().image_timeout, label=f"{runtime.name}: {source.title}"
        )
    before, mark, after = answer.out.partition("#ah ")
    claims.tell_of_locks(host, paths.folder, before.splitlines())
    verdict, _, words = f"{mark}{after}".partition("\n")
    if verdict == "#ah refused":
        raise UnsupportedError(
            f"the image {source.title!r} may not be used: {words.strip()[-1500:]}",
            where=host.title,
            hint="copy it there, or name its folder in `containers: {images: [...]}` of the deployment",
        )
    if verdict == "#ah obtained":
        log.info("%s: %s has the image %s now", host.title, runtime.name, printable(source.title))
    elif verdict != "#ah present":
        words = words.strip() or answer.err.strip() or f"exit code {answer.exit_code}"
        raise SiteError(
            f"{runtime.name} could not get the image {source.title!r}: {words[-1500:]}",
            where=host.title,
            hint="does the image exist, can the location reach the registry, and may you read it there? An image that "
            "was brought there by hand is used as it is",
        )
    return shared if save else None


def obtain_command(
    runtime: Runtime, source: ImageSource, paths: ImagePaths, reference: str, shared: str | None = None
) -> str:
    """Shell text that brings an image to a location under a claim.

    It prints ``#ah present|obtained|failed|refused`` and the reason.

    :param shared: path for an archive of the image for the nodes of a cluster.
    """
    values = {
        "MAKE": removal.make(paths.folder),
        "FOLDER": shlex.quote(paths.folder),
        "DIGEST": source.digest,
        "WAIT": str(round(settings.current().image_timeout)),
        "PERMITTED": runtime.permitted(source, paths),
        "PRESENT": runtime.present(reference),
        "OBTAIN": runtime.obtain(source, paths),
        "ARCHIVE": _archive(runtime.save(reference, f"{shared}.new"), shared) if shared else "",
    }
    # whoever asked for it has given up then, so nobody is bringing it any more
    functions = removal.functions() + claims.functions(settings.current().image_timeout)
    return functions + shell_text.filled(__package__, "obtain.sh", values)


def _archive(save: str | None, path: str) -> str:
    """The part of :func:`obtain_command` that writes an archive; ``""``: the runtime has none."""
    if not save:
        return ""
    values = {
        "NEW": shlex.quote(f"{path}.new"),
        "PATH": shlex.quote(path),
        "CLEAR_NEW": removal.remove(f"{path}.new"),
        "CLEAR_PATH": removal.remove(path),
        "SAVE": save,
    }
    return shell_text.filled(__package__, "archive.sh", values)


def _no_runtime(
    host: Host, source: ImageSource, settings: ContainerSettings, detected: detect.DetectedRuntime
) -> UnsupportedError:
    reasons = "; ".join(f"{name} {why}".rstrip() for name, why in detected.unusable)
    problem = "there is no container runtime" if settings.runtime == "auto" else f"{settings.runtime} cannot be used"
    verb = "requires" if source.required else "asks for"
    return UnsupportedError(
        f"the step {verb} a container ({source.title}), but {problem}: {reasons}",
        where=host.title,
        hint="install one of docker, podman, apptainer or charliecloud there and name it as `containers` of the "
        f"deployment {host.deployment!r}, or bind the step to a deployment that has one",
    )


async def _once(host: Host, key: Any, work: Coroutine[Any, Any, T]) -> T:
    """Do the work once for all callers; after a failure, do it again."""
    tasks = _KNOWN.setdefault(host, {})
    task: asyncio.Task[T] | None = tasks.get(key)
    if task is not None and not (task.done() and (task.cancelled() or task.exception() is not None)):
        work.close()
    else:
        task = tasks[key] = asyncio.ensure_future(work)
    return await asyncio.shield(task)


def container_settings(section: Any) -> ContainerSettings:
    """Settings from ``containers`` of a deployment or a binding: a name, or ``{runtime, options, network, images}``."""
    if not section:
        return ContainerSettings()
    if isinstance(section, str):
        return ContainerSettings(section)
    options: Sequence[str] = section.get("options") or ()
    folders: Sequence[str] = section.get("images") or ()
    return ContainerSettings(
        section.get("runtime") or "auto",
        tuple(options),
        network=bool(section.get("network")),
        folders=tuple(folders),
        required=bool(section.get("required")),
        image=section.get("image"),
    )
