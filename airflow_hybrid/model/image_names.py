# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Valid names of images, paths in containers and sizes: words that become arguments of a client.

Each function returns a message about what is wrong with a word, or None. A valid word is never read as an option.
"""

from __future__ import annotations

import posixpath
import re

_DOMAIN_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::{_TAG})?(?:@{_DIGEST})?",
)
"""https://github.com/distribution/reference: ``[domain/]path[:tag][@digest]``"""
_LIBRARY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*(?::{_TAG})?(?:@{_DIGEST})?")
"""Sylabs and Singularity Hub: names may have capitals"""
_WEB = re.compile(rf"{_DOMAIN}/[A-Za-z0-9_.~!$&'()*+,;=:@%/?-]*")
_SCHEMES = {
    "docker": _REFERENCE,
    "oras": _REFERENCE,
    "library": _LIBRARY,
    "shub": _LIBRARY,
    "http": _WEB,
    "https": _WEB,
}
"""all schemes of apptainer that do not name files of the host"""
_IMAGE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.(?:sif|simg|img)")
MAX_NAME = 512
_PATH = re.compile(r"/[^\x00-\x1f\x7f:,\\]*")
_OF_THE_SYSTEM = frozenset(
    ("", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "sys", "usr")
)
_NEEDED = ("/home", "/opt", "/srv", "/tmp", "/var", "/var/lib", "/var/lib/cwl", "/var/spool")
_SIZE = re.compile(r"[1-9][0-9]{0,15}(?:\.[0-9]{1,3})?[bBkKmMgG]?")


def name_problem(name: str) -> str | None:
    """For an image's name: ``debian:12``, ``quay.io/a/b@sha256:...``, ``docker://debian``, ``library://a/b/c``."""
    scheme, separator, rest = name.partition("://")
    if not separator:
        scheme, rest = "docker", name
    grammar = _SCHEMES.get(scheme)
    if grammar is None:
        return f"{name!r} is not an image name: {scheme}:// is not one of {', '.join(f'{s}://' for s in _SCHEMES)}"
    if len(name) > MAX_NAME or not grammar.fullmatch(rest):
        return f"{name!r} is not an image name"
    return None


def id_problem(image: str) -> str | None:
    """For ``dockerImageId``: a name, a path, or a Singularity file as cwltool's users name it (``tool.sif``)."""
    if image.startswith("/"):
        return path_problem(image)
    return None if _IMAGE_FILE.fullmatch(image) else name_problem(image)


def path_problem(path: str) -> str | None:
    """For an image that is a file or folder at the location: a normal absolute path, and not ``/``."""
    odd = path.rstrip("/") != posixpath.normpath(path) or re.search(r"[\x00-\x1f\x7f]", path)
    if not path.startswith("/") or path.startswith("//") or odd:
        return f"{path!r} is not the path of an image: it must be absolute, without `.`, `..` and `//`, and not `/`"
    return None


def output_directory_problem(path: str) -> str | None:
    """For ``dockerOutputDirectory``: a folder of the container that hides nothing that is needed there."""
    named = f"dockerOutputDirectory {path!r}"
    if not _PATH.fullmatch(path):
        return f"{named} must be an absolute path without colons and commas"
    if path.startswith("//") or posixpath.normpath(path) not in (path, path[:-1]):
        return f"{named} is not a normal path: it contains `.`, `..` or `//`"
    if path[1:].partition("/")[0] in _OF_THE_SYSTEM or path.rstrip("/") in _NEEDED:
        return f"{named} is a folder that the container needs; use for example /output"
    return None


def size_problem(size: str) -> str | None:
    """For ``shmSize``: a number with ``b``, ``k``, ``m`` or ``g``, as docker writes it."""
    if not _SIZE.fullmatch(size):
        return f"shmSize {size!r} is not a size such as 64m or 2g"
    return None
