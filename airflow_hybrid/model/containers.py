# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's container as values: the image that a tool asks for, the one that is ready at a location, the box itself.

Values only; :mod:`airflow_hybrid.containers` turns them into the commands of each runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import image_names

OUTDIR, TMPDIR, STAGED = "/var/spool/cwl", "/tmp", "/var/lib/cwl"
"""where a tool in a container finds its output directory (and home), its temporary one, and its inputs"""


@dataclass(frozen=True)
class ImageSource:
    """DockerRequirement (CWL v1.2 CommandLineTool 5.4): which image, and how it can be had.

    :ivar pull: image to pull; ``load``: location of an archive of ``docker save``; ``file``: text of a Dockerfile;
        ``root``: location of an archive of a root file system (``dockerImport``).
    :ivar image_id: name under which the image is looked for first.
    :ivar output_directory: where the tool sees its output directory.
    :ivar required: a requirement; False: a hint, which may be left out.
    :ivar of_document: a document names it, which is not trusted; False: the hybrid file does.
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

        :raises CwlError: a word of it could be taken for something else by a container runtime's client.
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
        told = [problem for problem in problems if problem]
        if told:
            hint = "an image is named as in `docker pull` (debian:12, quay.io/org/tool@sha256:...)"
            raise CwlError("; ".join(told), hint=hint)
        return cls(pull, load, file, root, image_id, output, required, of_document=True)

    @property
    def digest(self) -> str:
        """Names what the image is made of, for locks and caches; the place of the output directory is no part of it."""
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
    """An image that can be run at a location, and by what.

    :ivar runtime: name of the runtime; ``version``: its numbers, as far as they are known.
    :ivar reference: what the runtime calls the image there: a name, or the absolute path of a file or folder.
    :ivar user: ``uid:gid`` of whoever runs jobs there; ``rootless``: the runtime itself runs as that user.
    :ivar options: more arguments for the runtime, from the hybrid file.
    :ivar archive: where nodes that lack the image find it (absolute path of an archive that they can load).
    :ivar outdir: where the tool is to see its output directory.
    :ivar network: the network is there, whether the tool asks for it or not.
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
    """``source``, an absolute path at the location, is seen as ``target`` in the container."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Container:
    """One job's container. Its mounts include the output and the temporary directory.

    :ivar outdir: output directory and home, as the tool sees it.
    :ivar launcher: what starts several containers at once (``mpirun -n 4``).
    :ivar shm_size: size of /dev/shm as docker writes it.
    """

    image: ReadyImage
    mounts: tuple[Mount, ...]
    outdir: str
    network: bool = False
    launcher: tuple[str, ...] = ()
    gpus: int = 0
    shm_size: str | None = None
