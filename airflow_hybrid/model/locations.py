# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Locations (URIs): taken apart once, by one function, before anything is judged by them.

Programs differ in what they forgive: a leading blank, a tab or newline inside of the scheme, its capitals, a query
behind a path. Whoever judges the one form and uses the other is deceived; so what is not plain is refused, and what is
plain is kept in its normal form (:attr:`Location.uri`).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_hybrid.model.values import SCHEME, percent_decoded, percent_encoded

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
WEB = ("http", "https")
"""schemes of the web"""
FILES = ("file", SCHEME)
"""schemes of files that this machine or a deployment has; their locations have no query, fragment or ``..``"""


def scheme_of(text: str) -> str:
    """The scheme of a URI, in lower case; ``""`` of what is none (a path, also with a blank before a scheme)."""
    match = _URI.fullmatch(text)
    return match[1].lower() if match else ""


def normal(text: str) -> str:
    """The form of a location that everybody keeps; of a folder elsewhere without the slash at its end.

    :raises ValueError: as :meth:`Location.parse`.
    """
    location = Location.parse(text)
    return location.uri if location.scheme in FILES else location.uri.rstrip("/")


def local_path(text: str) -> str | None:
    """The path of a ``file:`` URI of this machine, in whatever spelling; None: it is no such URI."""
    try:
        location = Location.parse(text)
    except ValueError:
        return None
    return location.path if location.scheme == "file" else None


def is_uri(text: str) -> bool:
    """Whether a reference that somebody wrote is a URI; else it is a path (``a:b.cwl`` is a file's name)."""
    return "://" in text or text[:6].lower() == "file:/"


def path_or_uri(text: str) -> str:
    """A reference in which the ``file:`` URI of a file of this machine is its path; a ``#fragment`` stays.

    A path with ``#`` in it stays a URI, in its normal form.
    """
    base, sign, fragment = text.partition("#")
    path = local_path(base) if is_uri(base) else None
    if path is None:
        return text
    return (Location.parse(base).uri if "#" in path else path) + sign + fragment


def tidy_path(text: str) -> str | None:
    """The path of a ``file:`` URI that a program wrote, without ``.``, ``..`` and ``//``; None: another URI, or a path.

    :raises ValueError: as :meth:`Location.parse`.
    """
    if not is_uri(text) or scheme_of(text) != "file":
        return None
    return Location.parse(text, tidy=True).path


@dataclass(frozen=True)
class Location:
    """A location, taken apart.

    :ivar scheme: in lower case.
    :ivar host: between ``//`` and the path, as it is written; of a ``hybrid:`` location its deployment, decoded.
    :ivar site: the location of a ``hybrid:`` location, decoded; else ``""``.
    :ivar path: percent-decoded; of :data:`FILES` without ``.``, ``..``, ``//`` and a slash at its end.
    :ivar uri: the normal form, which is the one to keep.
    """

    scheme: str
    host: str
    path: str
    uri: str
    site: str = ""

    @classmethod
    def parse(cls, text: str, *, tidy: bool = False) -> Location:
        """Take a location apart.

        :param tidy: of :data:`FILES`: a path that is not normal is made so; else it is refused.
        :raises ValueError: not a plain URI, or (of :data:`FILES`) not that of one file; says why.
        """
        match = _URI.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a URI")
        scheme, rest = match[1].lower(), match[2]
        if _CONTROL.search(text) or text != text.rstrip():
            raise ValueError(f"{text!r} is not a URI: a blank or a control character is in it (percent-encode it)")
        if scheme in FILES:
            return cls._of_file(text, scheme, rest, tidy)
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is neither a path nor a URL: {error}") from None
        return cls(scheme, parts.netloc, percent_decoded(parts.path), f"{scheme}:{rest}")

    @classmethod
    def _of_file(cls, text: str, scheme: str, rest: str, tidy: bool) -> Location:
        if "?" in rest or "#" in rest:
            raise ValueError(f"a file URI has no query or fragment (percent-encode '?' and '#'): {text!r}")
        host = ""
        if rest.startswith("//"):
            host, slash, below = rest[2:].partition("/")
            rest = slash + below
        if scheme == "file":
            if host.lower() not in ("", "localhost"):
                raise ValueError(f"a file: URI names another host: {text!r}")
            host = ""
        site = ""
        if scheme == SCHEME:
            site, slash, below = rest.removeprefix("/").partition("/")
            host, site, rest = percent_decoded(host), percent_decoded(site), slash + below
        path = percent_decoded(rest)
        if not path.startswith("/") or "\0" in path or (scheme == SCHEME and not (host and site)):
            raise ValueError(f"not the URI of a file at a location: {text!r}")
        # two slashes at the beginning stay two for posixpath
        if tidy:
            path = posixpath.normpath("/" + path.lstrip("/"))
        if path != "/" and (path.startswith("//") or posixpath.normpath(path) != path.rstrip("/")):
            raise ValueError(f"the path in {text!r} is not normal")
        path = path.rstrip("/") or "/"
        shown = f"{percent_encoded(host, safe='')}/{percent_encoded(site, safe='')}" if site else ""
        return cls(scheme, host, path, f"{scheme}://{shown}{percent_encoded(path)}", site)

    @property
    def climbs(self) -> bool:
        """Whether its path has ``..`` in it, in whatever spelling."""
        return ".." in self.path.replace("\\", "/").split("/")
