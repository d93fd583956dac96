# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's view of its location: cwltool's file access and path mapping, answered only from facts."""

from __future__ import annotations

from typing import Any, cast

from airflow_hybrid.cwl.locations.file_access import LocationFs
from airflow_hybrid.cwl.locations.paths import Inside, JobFiles, LocationPaths
from airflow_hybrid.model import SiteFacts
from airflow_hybrid.model.walking import files

_CONTENT = {"File": "contents", "Directory": "listing"}
"""the field with a literal's content, by class"""


class JobLocation(LocationPaths):
    """The location of one job, with access to its files, and notes from collecting its outputs.

    :ivar left_out: FIFOs, sockets and devices in output folders, in words.
    :ivar linked: output folder -> whether there are links in it or below it.
    """

    def __init__(self, jobdir: str, files: JobFiles, facts: SiteFacts, inside: Inside | None = None) -> None:
        super().__init__(jobdir, files, facts, inside)
        self.fs = LocationFs(self)
        self.left_out: list[str] = []
        self.linked: dict[str, bool] = {}

    def name_literals(self, value: Any) -> None:
        """Give locations to the File and Directory literals in the value of an output's expression, for cwltool and
        this site.
        """
        for file in files(value):
            if file.get("location") or file.get("path") or _CONTENT[file["class"]] not in file:
                continue
            location = f"_:output-{len(self.classes)}"
            cast("dict[str, Any]", file)["location"] = location
            self.classes[location] = file["class"]
