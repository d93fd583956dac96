# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which files a watch is about: a path with wildcards. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.printable import printable, shortened

_WILD = re.compile(r"[*?\[]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 4_096
NAME = "{name}"
"""stands for a file's name in that of its marker"""


@dataclass(frozen=True)
class PathPattern:
    """A path that may have ``*``, ``?`` and ``[...]``, which match no ``/``.

    :ivar folder: the part without wildcards: absolute; or relative to the work directory of the deployment.
    :ivar rest: what is below it, at least a name.
    """

    folder: str
    rest: str

    @property
    def depth(self) -> int:
        """How many folders below :attr:`folder` the files are, with themselves."""
        return self.rest.count("/") + 1

    def beside(self, marker: str) -> PathPattern:
        """The pattern of the markers of its files."""
        folder, slash, name = self.rest.rpartition("/")
        return PathPattern(self.folder, folder + slash + marker.replace(NAME, name))


def path_pattern(text: str) -> PathPattern:
    """Parse a path.

    :raises ConfigError: it is none, or one that could be read in two ways.
    """

    def refused(why: str, hint: str) -> ConfigError:
        return ConfigError(f"`path`: {printable(shortened(text, 200))} {why}", hint=hint)

    if not text or len(text) > _LONGEST or _CONTROL.search(text):
        raise refused("is not the path of files", "write a path as `incoming/*.csv`")
    if "**" in text:
        raise refused("has `**`, which is not known", "name each level: `incoming/*/*.csv`")
    if "\\" in text:
        raise refused("has a backslash", "write `[*]` for a star that is meant as it is")
    if text.startswith("~"):
        raise refused("begins with `~`", "write it relative to the deployment's `workdir`, which may begin with `~`")
    if text.endswith("/") or text != posixpath.normpath(text) or text.startswith(("//", "../")) or text in (".", ".."):
        raise refused("is not the normal path of a file", "write it without `.`, `..`, `//` and a slash at its end")
    parts = text.split("/")
    plain = next((n for n, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    plain = min(plain, len(parts) - 1)
    folder = "/".join(parts[:plain])
    return PathPattern(folder or ("/" if text.startswith("/") else ""), "/".join(parts[plain:]))


def check_marker(marker: str) -> None:
    """:raises ConfigError: it is not the name of a file."""
    if not marker or "/" in marker or marker in (".", "..", NAME) or _CONTROL.search(marker) or len(marker) > 250:
        raise ConfigError(
            f"`marker`: {printable(shortened(marker, 200))} is not the name of a file beside another one",
            hint="write a name as `_SUCCESS`, or one of its own for each file: `{name}.done`",
        )
    if _WILD.search(marker) or "\\" in marker:
        raise ConfigError(f"`marker`: {printable(marker)} has wildcards", hint="write `{name}` for the file's own name")
