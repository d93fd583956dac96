# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Locations (URIs): parsed once, by one function, before any decision is based on them.

Programs differ in what they tolerate: a leading blank, a tab or newline inside the scheme, capitals in it, a query
after a path. A check of one form is worthless if another form is used later. So unusual URIs are refused, and others
are kept in their normal form (:attr:`Location.uri`).
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
STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "wasb", "adl", "ftp")
"""schemes of object stores, which Airflow's providers read. Those of hosts and of this machine's files (``sftp``,
``local``) are not among them: they would be a way around deployments and their Connections"""
FILES = ("file", SCHEME)
"""schemes of files of this machine or a deployment; their locations have no query, fragment or ``..``"""


def scheme_of(text: str) -> str:
    """The scheme of a URI in lower case; ``""`` for anything else (a path, or a blank before a scheme)."""
    match = _URI.fullmatch(text)
    return match[1].lower() if match else ""


def normal(text: str) -> str:
    """The normal form of a location; for a folder elsewhere without the slash at its end.

    :raises ValueError: as :meth:`Location.parse`.
    """
    location = Location.parse(text)
    return location.uri if location.scheme in FILES else location.uri.rstrip("/")


def local_path(text: str) -> str | None:
    """The path of a ``file:`` URI of this machine, in any spelling; None for anything else."""
    try:
        location = Location.parse(text)
    except ValueError:
        return None
    return location.path if location.scheme == "file" else None


def is_uri(text: str) -> bool:
    """Whether a user's reference is a URI; otherwise it is a path (``a:b.cwl`` is a file name)."""
    return "://" in text or text[:6].lower() == "file:/"


def path_or_uri(text: str) -> str:
    """A reference with the ``file:`` URI of a file of this machine replaced by its path; a ``#fragment`` stays.

    ``..`` in it is resolved. A path with ``#`` in it stays a URI, in its normal form.
    """
    base, sign, fragment = text.partition("#")
    if not is_uri(base) or scheme_of(base) != "file":
        return text
    try:
        location = Location.parse(base, tidy=True)
    except ValueError:
        return text
    return (location.uri if "#" in location.path else location.path) + sign + fragment


def tidy_path(text: str) -> str | None:
    """The path of a ``file:`` URI that a program wrote, without ``.``, ``..`` and ``//``; None: another URI, or a path.

    :raises ValueError: as :meth:`Location.parse`.
    """
    if not is_uri(text) or scheme_of(text) != "file":
        return None
    return Location.parse(text, tidy=True).path


@dataclass(frozen=True)
class Location:
    """A parsed location.

    :ivar scheme: in lower case.
    :ivar host: between ``//`` and the path, as it is written; of a ``hybrid:`` location its deployment, decoded.
    :ivar site: the location of a ``hybrid:`` location, decoded; else ``""``.
    :ivar path: percent-decoded; of :data:`FILES` without ``.``, ``..``, ``//`` and a slash at its end.
    :ivar uri: the normal form, which is used from then on.
    """

    scheme: str
    host: str
    path: str
    uri: str
    site: str = ""

    @classmethod
    def parse(cls, text: str, *, tidy: bool = False) -> Location:
        """Parse a location.

        :param tidy: for :data:`FILES`: normalise a path that is not normal; otherwise it is refused.
        :raises ValueError: not a plain URI, or (for :data:`FILES`) not that of one file; says why.
        """
        match = _URI.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a URI")
        scheme, rest = match[1].lower(), match[2]
        if _CONTROL.search(text) or text != text.rstrip():
            raise ValueError(f"{text!r} is not a URI: it contains a blank or a control character (percent-encode it)")
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
        """Whether its path contains ``..``, in any spelling."""
        return ".." in self.path.replace("\\", "/").split("/")
