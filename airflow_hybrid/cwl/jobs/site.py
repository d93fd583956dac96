# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's view of the location it runs at: cwltool's file access and path mapping, answered from facts alone."""

from __future__ import annotations

import fnmatch
import io
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from cwltool.stdfsaccess import StdFsAccess

from airflow_hybrid.cwl.values.several_names import canonical
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FactsNeeded, FileFact, Question, SiteFacts, not_json, percent_decoded, percent_encoded
from airflow_hybrid.model.containers import STAGED, TMPDIR
from airflow_hybrid.model.files import SPECIAL
from airflow_hybrid.model.locations import is_uri, tidy_path

OUTPUT_DOCUMENT = "cwl.output.json"
"""CWL v1.2 CommandLineTool 4.1.6: what a tool says of its outputs itself"""
_OURS = "x-file:"
_ABSENT = FileFact("?")


def veil(location: str) -> str:
    """Give a ``file:`` location another scheme: cwltool takes ``file:`` for a path where the job runs."""
    return _OURS + location[len("file:") :] if location.startswith("file:") else location


def unveil(location: str) -> str:
    return "file:" + location[len(_OURS) :] if location.startswith(_OURS) else location


def _file_uri(path: str) -> str:
    return f"file://{percent_encoded(path)}"


def _path_of_pattern(pattern: str) -> str:
    """:raises CwlError: a glob pattern is a URI, and not that of files of the job."""
    try:
        # what would begin a query or fragment of a URI stands for characters here
        path = tidy_path(pattern.replace("?", "%3F").replace("#", "%23"))
    except ValueError as error:
        raise CwlError(f"glob pattern {pattern!r}: {error}") from None
    return pattern if path is None else path


@dataclass(frozen=True)
class Inside:
    """Where a tool sees its folders; inputs are each in a folder of its own below ``stagedir``."""

    outdir: str
    tmpdir: str = TMPDIR
    stagedir: str = STAGED


class JobSite:
    """Where one job runs and what is known there.

    :ivar paths: location URI -> absolute path of its replica (there, or where it is going to be).
    :ivar literals: contents of File literals by their ``_:`` location; ``inputs``: the located inputs by location.
    :ivar inside: the job runs in a container, where its folders have these paths; None: they are what they are.
    :ivar sizes: whether the size of an input is worth a question.
    :ivar targets: where the job sees an input, by location, once it is built.
    """

    def __init__(
        self,
        jobdir: str,
        paths: Mapping[str, str],
        facts: SiteFacts,
        literals: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, Any]],
        inside: Inside | None = None,
    ) -> None:
        self.jobdir = jobdir
        self.outdir = f"{jobdir}/out"
        self.tmpdir = f"{jobdir}/tmp"
        self.inside = inside
        self.seen = inside or Inside(self.outdir, self.tmpdir, f"{jobdir}/in")
        self.paths = paths
        self.facts = facts
        self.literals = literals
        self.inputs = inputs
        self.sizes = True
        self.targets: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        self.fs = SiteFs(self)
        self._input_dirs = 0
        self.left_out: list[str] = []
        self.linked: dict[str, bool] = {}
        """FIFOs, sockets and devices in folders that are outputs, in words"""

    def name_literals(self, value: Any) -> None:
        """Give the File and Directory literals in the value of an output's expression a location, by which cwltool
        and this site know them.
        """
        if isinstance(value, list):
            for item in value:
                self.name_literals(item)
        if not isinstance(value, dict):
            return
        for item in value.values():
            self.name_literals(item)
        if value.get("location") or value.get("path"):
            return
        kind, content = value.get("class"), {"File": "contents", "Directory": "listing"}
        if kind in content and content[kind] in value:
            value["location"] = f"_:output-{len(self.classes)}"
            self.classes[value["location"]] = kind

    def input_dir(self) -> str:
        """A new folder, as the tool sees it, for one input and its secondary files."""
        self._input_dirs += 1
        return f"{self.seen.stagedir}/{self._input_dirs}"

    def outside(self, path: str) -> str:
        """Where something in the output directory, as the tool sees it, is at the location."""
        if is_below(path, self.seen.outdir):
            return self.outdir + path[len(self.seen.outdir) :]
        return path

    def path_of(self, location: str) -> str | None:
        """Path of an input's replica; a file inside an input directory is found by its directory."""
        location = canonical(unveil(location).rstrip("/"))
        found = self.paths.get(location)
        if found is not None:
            return found
        parent, slash, rest = location.rpartition("/")
        while slash and not parent.endswith("/") and parent:
            found = self.paths.get(parent) or self.paths.get(parent + "/")
            if found is not None:
                tail = percent_decoded(rest)
                if ".." in tail.split("/"):
                    return None
                return f"{found}/{tail}"
            parent, slash, before = parent.rpartition("/")
            rest = f"{before}/{rest}"
        return None

    def real(self, path: str) -> str:
        """Where something in the output directory really is: there, or at an input, whose path it then has.

        Nothing of it may be read before: links that a job makes could lead to any file of the location's user.

        :raises CwlError: it is, or leads, elsewhere.
        """
        if not is_below(path, self.outdir):
            raise CwlError(f"output {path} is outside the job's output directory")
        self._not_elsewhere(self.outdir, path)
        current = self.outdir
        for part in path[len(self.outdir) + 1 :].split("/"):
            current = f"{current}/{part}" if part else current
            if is_below(current, self.outdir):  # links in an input are the user's
                current = self._not_elsewhere(current, path)
        return current

    def _not_elsewhere(self, current: str, path: str) -> str:
        fact = self.facts.files.get(current)
        if fact is None or fact.realpath in (None, current):
            return current
        real = str(fact.realpath)
        if is_below(real, self.outdir) and current != self.outdir:
            return real
        if self.input_at(real) is not None:
            return real
        for known in self.paths.values():
            seen = self.facts.files.get(known)
            if seen is not None and seen.realpath and is_below(real, seen.realpath):
                return known + real[len(seen.realpath) :]
        raise CwlError(f"output {path} is a symbolic link to {real}, outside the job's output directory")

    def need_path(self, location: str) -> str:
        found = self.path_of(location)
        if found is None:
            raise CwlError(f"{percent_decoded(location)} is used by the job and is not one of its inputs")
        return found

    def input_at(self, path: str) -> str | None:
        """The location of the input whose replica is at ``path`` or that holds it."""
        for location, known in self.paths.items():
            if path == known:
                return location
            if path.startswith(known + "/"):
                return f"{location.rstrip('/')}/{percent_encoded(path[len(known) + 1 :])}"
        return None


def is_below(path: str, folder: str) -> bool:
    """Whether a normal path is that of the folder, or of something in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def refuse_replaced(path: str, facts: SiteFacts) -> None:
    """:raises CwlError: the file was not what was seen before when it was to be read."""
    if path in facts.replaced:
        raise CwlError(f"output {path} was replaced by something else while it was read")


class SiteFs(StdFsAccess):  # type: ignore[misc, unused-ignore]
    """Answers stat, listing and contents from :class:`SiteFacts`; nothing is read from this machine.

    What is not known is written to :attr:`needed` and :class:`FactsNeeded` is raised; cwltool may turn that
    exception into one of its own, so callers look at :attr:`needed` whatever happened.
    """

    def __init__(self, site: JobSite) -> None:
        super().__init__("")
        self._site = site
        self.needed: dict[Question, None] = {}

    @property
    def facts(self) -> Mapping[str, FileFact]:
        """What is known of files, by path."""
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
        """What is known of ``path``; a name missing from its folder's listing is known to be absent.

        :raises CwlError: it is a link that leads out of the output directory.
        """
        facts = self._site.facts
        named, path = path, self._real(path)
        # of a link to an input, what was seen of the link is enough
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
        rest = path[len(outdir) + 1 :] if path.startswith(outdir + "/") else path
        parts = [part for part in rest.split("/") if part not in ("", ".")]
        if ".." in parts or rest.startswith("/"):
            raise CwlError(f"glob pattern {rest!r} leaves the output directory")
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
        part, rest = parts[0], parts[1:]
        if not any(sign in part for sign in "*?["):
            self.refuse_special(f"{folder}/{part}")
            if self.stat(f"{folder}/{part}").kind != "?":
                yield from self._match(f"{folder}/{part}", rest)
            return
        if self.stat(folder).kind != "d":
            return
        for name in self.names(folder):
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith(".")):
                yield from self._match(f"{folder}/{name}", rest)

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
        # what a tool says of its outputs may be longer than what expressions may load
        ask = "document" if path == f"{self._site.outdir}/{OUTPUT_DOCUMENT}" else "contents"
        path = self._real(path)
        refuse_replaced(path, self._site.facts)
        data = self._site.facts.contents.get(path)
        if data is None:
            self._ask(ask, path)
            return b""  # so that all the files that are needed are asked for at once
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
        if known is not None:
            return int(known)
        path = self._path(fn)
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
