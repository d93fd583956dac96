# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The paths of a job's files at its location: cwltool's path mapping, answered only from facts."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, MutableSequence
from typing import Any

from cwltool.pathmapper import MapperEnt, PathMapper
from cwltool.utils import dedup

from airflow_hybrid.cwl.locations.paths import LocationPaths, veil
from airflow_hybrid.cwl.values.several_names import canonical


class LocationPathMapper(PathMapper):
    """Maps locations to paths at the job's location.

    An input is used in place if its replica has the right name and its secondary files are beside it; otherwise it is
    linked into a folder of its own (CWL v1.2 CommandLineTool 5.1 only requires the names, and secondary files beside
    their primary file).

    :ivar entries: everything that has to be visible, in order; the same file may have several names, the first of which
        is in the map by location.
    """

    def __init__(self, files: MutableSequence[Any], site: LocationPaths, stagedir: str, separate: bool) -> None:
        self._site = site
        self._listed = list(files)  # cwltool's class drops the second name of a file
        self.entries: list[MapperEnt] = []
        self._seen: set[tuple[str, str]] = set()
        super().__init__(files, "", stagedir, separate)

    def setup(self, referenced_files: MutableSequence[Any], basedir: str) -> None:
        if not self.separateDirs:
            for file in self._listed:
                self.visit(file, self.stagedir, "", copy=bool(file.get("writable")), staged=True)
            return
        for file in dedup(referenced_files):
            if file["location"] in self._pathmap:
                continue
            if self._site.inside is None and self._in_place(file, None):
                self.visit(file, posixpath.dirname(self._site.need_path(file["location"])), "", staged=False)
            else:
                self.visit(file, self._site.input_dir(), "", staged=True)

    def _in_place(self, file: Mapping[str, Any], folder: str | None) -> bool:
        if file["location"].startswith("_:"):
            return False
        here, name = posixpath.split(self._site.need_path(file["location"]))
        if name != file["basename"] or (folder is not None and here != folder):
            return False
        return all(self._in_place(other, here) for other in file.get("secondaryFiles", ()))

    def visit(self, obj: Any, stagedir: str, basedir: str, copy: bool = False, staged: bool = False) -> None:
        location = obj["location"]
        origin = canonical(location)
        literal = location.startswith("_:")
        stagedir = obj.get("dirname") or stagedir
        target = posixpath.join(stagedir, obj["basename"])
        if (location, target) in self._seen:
            return
        self._seen.add((location, target))
        if location not in self._pathmap:
            self._site.targets[location] = self._site.outside(target)
            self._site.targets.setdefault(origin, self._site.targets[location])
        self._site.classes[veil(origin)] = self._site.classes[origin] = obj["class"]
        if obj["class"] == "Directory":
            kind = "WritableDirectory" if copy else "Directory"
            self._add(location, MapperEnt(veil(origin), target, kind, staged))
            self.visitlisting(obj.get("listing", []), target, "", copy=copy, staged=staged and literal)
            return
        kind = "WritableFile" if copy else "File"
        if literal:
            kind = f"Create{kind}"
        self._add(location, MapperEnt(obj["contents"] if literal else veil(origin), target, kind, staged))
        self.visitlisting(obj.get("secondaryFiles", []), stagedir, "", copy=copy, staged=staged)

    def _add(self, location: str, entry: MapperEnt) -> None:
        self.entries.append(entry)
        self._pathmap.setdefault(location, entry)
