# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's container as values: the image that a tool asks for, the image ready at a location, the container itself.

Only values; :mod:`airflow_hybrid.containers` turns them into the commands of each runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import image_names

OUTDIR, TMPDIR, STAGED = "/var/spool/cwl", "/tmp", "/var/lib/cwl"
"""paths in a container of a tool's output directory (and home), its temporary directory, and its inputs"""


@dataclass(frozen=True)
class ImageSource:
    """DockerRequirement (CWL v1.2 CommandLineTool 5.4): which image, and how to get it.

    :ivar pull: image to pull; ``load``: location of an archive of ``docker save``; ``file``: text of a Dockerfile;
        ``root``: location of an archive of a root file system (``dockerImport``).
    :ivar image_id: name by which the image is looked up first.
    :ivar output_directory: where the tool sees its output directory.
    :ivar required: a requirement; False: a hint, which may be left out.
    :ivar of_document: True: an untrusted document names it; False: the hybrid file does.
    """

    pull: str | None = None
    load: str | None = None
    file: str | None = None
    root: str | None = None
    image_id: str | None = None
    output_directory: str | None = None
    required: bool = False
    of_document: bool = False

    @classmethod
    def of(cls, requirement: Mapping[str, Any], required: bool) -> ImageSource:
        """From the resolved DockerRequirement.

        :raises CwlError: a container runtime's client could misread a word of it.
        """
        fields = ("Pull", "Load", "File", "Import", "ImageId", "OutputDirectory")
        pull, load, file, root, image_id, output = (requirement.get(f"docker{name}") for name in fields)
        problems = []
        if pull is not None:
            problems.append(_of_field("dockerPull", image_names.name_problem(pull)))
        if image_id is not None:
            problems.append(_of_field("dockerImageId", image_names.id_problem(image_id)))
        if output is not None:
            problems.append(image_names.output_directory_problem(output))
        reported = [problem for problem in problems if problem]
        if reported:
            hint = "an image is named as in `docker pull` (debian:12, quay.io/org/tool@sha256:...)"
            raise CwlError("; ".join(reported), hint=hint)
        return cls(pull, load, file, root, image_id, output, required, of_document=True)

    @property
    def digest(self) -> str:
        """A name for the image's source, for locks and caches; it does not depend on the output directory."""
        parts = (self.pull, self.load, self.file, self.root, self.image_id)
        return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """For messages."""
        named = self.image_id or self.pull
        if named:
            return named
        if self.file:
            return "the image of its dockerFile"
        return self.load or self.root or "an image without a name"


def _of_field(field: str, problem: str | None) -> str | None:
    return problem and f"{field} {problem}"


@dataclass(frozen=True)
class ReadyImage:
    """An image ready to run at a location, and its runtime.

    :ivar runtime: name of the runtime; ``version``: its numbers, as far as known.
    :ivar reference: the image's name for the runtime there: a name, or the absolute path of a file or folder.
    :ivar user: ``uid:gid`` of the user who runs jobs there; ``rootless``: the runtime itself runs as that user.
    :ivar options: more arguments for the runtime, from the hybrid file.
    :ivar archive: absolute path of an archive that nodes without the image can load.
    :ivar outdir: path of the output directory for the tool.
    :ivar network: the network is available even if the tool does not ask for it.
    """

    runtime: str
    reference: str
    user: str
    rootless: bool = False
    version: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    archive: str | None = None
    outdir: str = OUTDIR
    network: bool = False


@dataclass(frozen=True)
class Mount:
    """``source``, an absolute path at the location, is mounted as ``target`` in the container."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Container:
    """One job's container. Its mounts include the output and the temporary directory.

    :ivar outdir: path in the container of the output directory, which is also the home.
    :ivar launcher: command that starts several containers at once (``mpirun -n 4``).
    :ivar shm_size: size of /dev/shm as docker writes it.
    """

    image: ReadyImage
    mounts: tuple[Mount, ...]
    outdir: str
    network: bool = False
    launcher: tuple[str, ...] = ()
    gpus: int = 0
    shm_size: str | None = None
