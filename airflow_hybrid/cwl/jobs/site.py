# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's view of the location it runs at: cwltool's file access and path mapping, answered from facts alone."""

from __future__ import annotations

from typing import Any

from airflow_hybrid.cwl.jobs.site_fs import SiteFs
from airflow_hybrid.cwl.jobs.site_paths import Inside, JobFiles, SitePaths
from airflow_hybrid.model import SiteFacts


class JobSite(SitePaths):
    """Where one job runs, with access to its files, and what is noted while its outputs are collected.

    :ivar left_out: FIFOs, sockets and devices in folders that are outputs, in words.
    :ivar linked: whether there are links in a folder of an output, or below it.
    """

    def __init__(self, jobdir: str, files: JobFiles, facts: SiteFacts, inside: Inside | None = None) -> None:
        super().__init__(jobdir, files, facts, inside)
        self.fs = SiteFs(self)
        self.left_out: list[str] = []
        self.linked: dict[str, bool] = {}

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
