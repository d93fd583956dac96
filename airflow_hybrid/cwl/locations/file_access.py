# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""cwltool's access to files, answered from what is known about a job's location."""

from __future__ import annotations

import fnmatch
import io
import posixpath
from collections.abc import Iterator, Mapping
from typing import IO, Any

from cwltool.stdfsaccess import StdFsAccess

from airflow_hybrid.cwl.locations.paths import LocationPaths, is_below, refuse_replaced, unveil
from airflow_hybrid.cwl.values.several_names import canonical
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FactsNeeded, FileFact, Question, not_json, percent_encoded
from airflow_hybrid.model.files import SPECIAL
from airflow_hybrid.model.locations import is_uri, tidy_path

OUTPUT_DOCUMENT = "cwl.output.json"
"""CWL v1.2 CommandLineTool 4.1.6: a tool's own document of its outputs"""
_ABSENT = FileFact("?")


def _file_uri(path: str) -> str:
    return f"file://{percent_encoded(path)}"


def _path_of_pattern(pattern: str) -> str:
    """:raises CwlError: a glob pattern is a URI, but not of files of the job."""
    try:
        # characters that would start a query or fragment of a URI are plain characters here
        path = tidy_path(pattern.replace("?", "%3F").replace("#", "%23"))
    except ValueError as error:
        raise CwlError(f"glob pattern {pattern!r}: {error}") from None
    return pattern if path is None else path


class LocationFs(StdFsAccess):  # type: ignore[misc, unused-ignore]
    """Answers stat, listing and contents from :class:`SiteFacts`; nothing is read from this machine.

    Open questions are added to :attr:`needed`, and :class:`FactsNeeded` is raised; cwltool may turn that exception into
    one of its own, so callers always check :attr:`needed`.
    """

    def __init__(self, site: LocationPaths) -> None:
        super().__init__("")
        self._site = site
        self.needed: dict[Question, None] = {}

    @property
    def facts(self) -> Mapping[str, FileFact]:
        """What is known about files, by path."""
        return self._site.facts.files

    def _path(self, uri: str) -> str:
        if uri.startswith("/"):
            return self._site.outside(posixpath.normpath(uri))
        known = self._site.path_of(uri)
        if known is not None:
            return known
        try:
            path = tidy_path(uri)
        except ValueError as error:
            raise OSError(str(error)) from None
        if path is not None and is_below(path, self._site.outdir):
            return path
        raise OSError(f"{uri} is neither an input nor in the output directory")

    def _real(self, path: str) -> str:
        return self._site.real(path) if is_below(path, self._site.outdir) else path

    def _ask(self, ask: str, path: str) -> FactsNeeded:
        inside = is_below(path, self._site.outdir)
        question = Question(ask, path, posixpath.dirname(self._site.jobdir) if inside else "")
        self.needed[question] = None
        return FactsNeeded([question])

    def stat(self, path: str) -> FileFact:
        """What is known about ``path``; a name missing in its folder's listing does not exist.

        :raises CwlError: it is a link that leads out of the output directory.
        """
        facts = self._site.facts
        named, path = path, self._real(path)
        # for a link to an input, the facts about the link are enough
        fact = facts.files.get(path) or facts.files.get(named)
        if fact is not None:
            return fact
        child, parent = path, posixpath.dirname(path)
        while child != parent:
            listing = facts.listings.get(parent)
            if listing is not None and posixpath.basename(child) not in listing:
                return _ABSENT
            fact = facts.files.get(parent)
            if fact is not None and fact.kind != "d":
                return _ABSENT
            if listing is not None or fact is not None:
                break
            child, parent = parent, posixpath.dirname(parent)
        raise self._ask("stat", path)

    def content_of(self, path: str) -> FileFact:
        """What is known about an input file that the job may have changed; with its checksum.

        :raises CwlError: the job has removed it.
        """
        fact = self._site.facts.files.get(path)
        if fact is None or (fact.kind == "f" and fact.checksum is None):
            raise self._ask("checksum", path)
        if fact.kind != "f":
            raise CwlError(f"an output is the input file {path}, which the job has removed or replaced")
        return fact

    def names(self, path: str) -> tuple[str, ...]:
        path = self._real(path)
        listing = self._site.facts.listings.get(path)
        if listing is None:
            raise self._ask("list", path)
        return listing

    def glob(self, pattern: str) -> list[str]:
        path = _path_of_pattern(pattern)
        outdir = self._site.outdir
        if path == outdir:
            return [_file_uri(outdir)]
        relative = path[len(outdir) + 1 :] if path.startswith(outdir + "/") else path
        parts = [part for part in relative.split("/") if part not in ("", ".")]
        if ".." in parts or relative.startswith("/"):
            raise CwlError(f"glob pattern {relative!r} leaves the output directory")
        matches = list(self._match(outdir, parts))
        for path in matches:
            if problem := not_json(path[len(outdir) + 1 :]):
                raise CwlError(f"glob pattern {'/'.join(parts)!r} matches {problem}")
        return [_file_uri(path) for path in matches]

    def _match(self, folder: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            self.refuse_special(folder)
            yield folder
            return
        part, other_parts = parts[0], parts[1:]
        if not any(sign in part for sign in "*?["):
            self.refuse_special(f"{folder}/{part}")
            if self.stat(f"{folder}/{part}").kind != "?":
                yield from self._match(f"{folder}/{part}", other_parts)
            return
        if self.stat(folder).kind != "d":
            return
        for name in self.names(folder):
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith(".")):
                yield from self._match(f"{folder}/{name}", other_parts)

    def refuse_special(self, path: str) -> None:
        """:raises CwlError: an output is a FIFO, a socket or a device, for which CWL has no class."""
        fact = self._site.facts.files.get(path)
        if fact is not None and fact.special:
            name = path[len(self._site.outdir) + 1 :]
            raise CwlError(f"{name!r} is {SPECIAL[fact.special]}, which is neither a File nor a Directory")

    def open(self, fn: str, mode: str) -> IO[Any]:
        text = self._site.literals.get(fn)
        data = text.encode() if text is not None else self._contents(self._path(fn))
        return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())

    def _contents(self, path: str) -> bytes:
        # a tool's document of its outputs may be longer than expressions may load
        ask = "document" if path == f"{self._site.outdir}/{OUTPUT_DOCUMENT}" else "contents"
        path = self._real(path)
        refuse_replaced(path, self._site.facts)
        data = self._site.facts.contents.get(path)
        if data is None:
            self._ask(ask, path)
            return b""  # so that all needed files are asked for at once
        return data

    def _class(self, uri: str) -> str | None:
        known = self._site.classes.get(canonical(uri))
        if known is not None:
            return known
        try:
            kind = self.stat(self._path(uri)).kind
        except OSError:
            return None
        return {"f": "File", "d": "Directory"}.get(kind)

    def exists(self, fn: str) -> bool:
        return self._class(fn) is not None

    def isfile(self, fn: str) -> bool:
        return self._class(fn) == "File"

    def isdir(self, fn: str) -> bool:
        return self._class(fn) == "Directory"

    def size(self, fn: str) -> int:
        text = self._site.literals.get(fn)
        if text is not None:
            return len(text.encode())
        location = unveil(fn)
        known = self._site.inputs.get(canonical(location), {}).get("size")
        path = self._path(fn)
        if known is not None and not self._site.may_be_updated(path):
            return int(known)
        for place in (path, self._site.targets.get(location, path)):
            fact = self._site.facts.files.get(place)
            if fact is not None and fact.kind == "f":
                return fact.size
        if not self._site.sizes:
            raise OSError(f"nothing asks for the size of {fn}")
        return self.stat(path).size

    def listdir(self, fn: str) -> list[str]:
        return [f"{fn.rstrip('/')}/{percent_encoded(name)}" for name in self.names(self._path(fn))]

    def join(self, path: str, *paths: str) -> str:
        last = paths[-1] if paths else ""
        return last if is_uri(last) or last.startswith("_:") else posixpath.join(path, *paths)

    def realpath(self, path: str) -> str:
        return path
