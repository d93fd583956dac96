# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's view of the location it runs at: cwltool's file access and path mapping, answered from facts alone."""

from __future__ import annotations

from typing import Any, cast

from airflow_hybrid.cwl.locations.file_access import LocationFs
from airflow_hybrid.cwl.locations.paths import Inside, JobFiles, LocationPaths
from airflow_hybrid.model import SiteFacts
from airflow_hybrid.model.walking import files

_CONTENT = {"File": "contents", "Directory": "listing"}
"""what a literal of a class has"""


class JobLocation(LocationPaths):
    """Where one job runs, with access to its files, and what is noted while its outputs are collected.

    :ivar left_out: FIFOs, sockets and devices in folders that are outputs, in words.
    :ivar linked: whether there are links in a folder of an output, or below it.
    """

    def __init__(self, jobdir: str, files: JobFiles, facts: SiteFacts, inside: Inside | None = None) -> None:
        super().__init__(jobdir, files, facts, inside)
        self.fs = LocationFs(self)
        self.left_out: list[str] = []
        self.linked: dict[str, bool] = {}

    def name_literals(self, value: Any) -> None:
        """Give the File and Directory literals in the value of an output's expression a location, by which cwltool
        and this site know them.
        """
        for file in files(value):
            if file.get("location") or file.get("path") or _CONTENT[file["class"]] not in file:
                continue
            location = f"_:output-{len(self.classes)}"
            cast("dict[str, Any]", file)["location"] = location
            self.classes[location] = file["class"]
