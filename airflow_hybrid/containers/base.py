# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The interface of a container runtime."""

from __future__ import annotations

import abc
import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import UnsupportedError
from airflow_hybrid.model.containers import Container, ImageSource, Mount
from airflow_hybrid.removal import shell as removal


@dataclass(frozen=True)
class ImagePaths:
    """Paths at a location that are needed to obtain an image.

    :ivar folder: absolute path of the folder for this package's images.
    :ivar archive: absolute path of what ``dockerLoad`` or ``dockerImport`` names, once it is at the location.
    :ivar allowed: further folders with image files that documents may name by path.
    """

    folder: str
    archive: str | None = None
    allowed: tuple[str, ...] = ()


class Runtime(abc.ABC):
    """One container runtime. Text only: nothing is run here.

    :ivar client: the program; ``removes``: a container outlives its client, and is ended by ``<client> rm -f <name>``.
    :ivar makes_mountpoints: it creates missing folders of a mount's target; otherwise the job creates them.
    """

    name: str
    client: str
    removes = False
    makes_mountpoints = True

    @abc.abstractmethod
    def usable(self) -> str:
        """Shell text that ends with 0 if the runtime can be used, and prints ``<version> [rootless]``."""

    @abc.abstractmethod
    def reference(self, source: ImageSource, paths: ImagePaths) -> str:
        """The image's name at the location.

        :raises UnsupportedError: this runtime cannot make such an image.
        """

    @abc.abstractmethod
    def present(self, reference: str) -> str:
        """Shell text that ends with 0 if the image is there."""

    def permitted(self, source: ImageSource, paths: ImagePaths) -> str:
        """Shell text that ends with 0 if the image may be used; otherwise it prints why not."""
        return ":"

    @abc.abstractmethod
    def obtain(self, source: ImageSource, paths: ImagePaths) -> str:
        """Shell text that brings the image to the location as :meth:`reference`; its output is for people.

        It may call the functions of :mod:`airflow_hybrid.removal.shell`.
        """

    @abc.abstractmethod
    def argv(
        self, container: Container, name: str, environment: Mapping[str, str], command: Sequence[str]
    ) -> list[str]:
        """The argument vector that runs ``command`` in the container until it ends, stdio attached."""

    def save(self, reference: str, archive: str) -> str | None:
        """Shell text that writes the image to an archive that other hosts can load; None: every host sees the image."""
        return None

    def load(self, archive: str) -> str:
        """Shell text that loads what :meth:`save` wrote."""
        raise NotImplementedError

    def cannot(self, field: str, instead: str) -> UnsupportedError:
        """The error for an image that this runtime cannot make."""
        return UnsupportedError(f"{self.name} cannot run an image from {field}", hint=instead)


class ImageFiles(Runtime):
    """A runtime whose images are files or folders of the work directory, seen by all nodes of a cluster.

    :ivar suffix: the end of their names; ``kind``: what they are, for messages.
    """

    suffix = ""
    kind = "file"

    @abc.abstractmethod
    def refuse(self, source: ImageSource) -> None:
        """:raises UnsupportedError: this runtime cannot make such an image."""

    @abc.abstractmethod
    def make(self, source: ImageSource, paths: ImagePaths, new: str) -> str:
        """Shell text that makes the image as ``new``, an absolute path that does not exist yet."""

    def reference(self, source: ImageSource, paths: ImagePaths) -> str:
        self.refuse(source)
        if source.image_id and source.image_id.startswith("/"):
            return source.image_id
        return f"{paths.folder}/{source.digest}{self.suffix}"

    def permitted(self, source: ImageSource, paths: ImagePaths) -> str:
        path = self.reference(source, paths)
        if not source.of_document or path != source.image_id:
            return ":"
        # by its real path: an image that is a folder may be a symbolic link to anything, `/` included
        folders = (paths.folder, *paths.allowed)
        lines = [f"ah_real=$(realpath -- {quoted(path)}) || exit 1"]
        lines += [f'case $ah_real in "$(realpath -m -- {quoted(folder)})"/*) exit 0 ;; esac' for folder in folders]
        lines.append(quoted("echo", f"a document may name image files below {' and '.join(folders)} only"))
        return "\n".join([*lines, "exit 1"])

    def obtain(self, source: ImageSource, paths: ImagePaths) -> str:
        reference = self.reference(source, paths)
        if reference == source.image_id:
            return f"echo 'there is no such {self.kind}' >&2; false"
        new = f"{reference}.new"
        clear = [removal.remove(path) for path in (new, reference)]
        return f"{clear[0]} && {self.make(source, paths, new)} && {clear[1]} && mv {quoted('--', new, reference)}"


def mount_option(mount: Mount) -> str:
    """The value of ``--mount``: one line of CSV, so that paths may hold commas and quotes."""
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    if not mount.writable:
        fields.append("readonly")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def quoted(*words: str) -> str:
    """A command as shell text."""
    return shlex.join(words)
