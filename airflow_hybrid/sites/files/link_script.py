# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shell text that links files to where they are needed, at the location that has them. Pure; POSIX sh."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from airflow_hybrid import shell_text
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.files.scripts import INCOMING, copy_folder_functions
from airflow_hybrid.sites.files.store import is_stored
from airflow_hybrid.sites.hosts.job_folders import job_directory_of


def link_files(pairs: Sequence[tuple[str, str]], transfer: str) -> str:
    """Link targets to sources of the same location, by hard links if possible, otherwise by symbolic links.

    ``link.sh`` describes the answer for each, and how symbolic links in a job's output are treated.
    """
    script = shell_text.filled(__package__, "link.sh", {"NAME": f"{INCOMING}{transfer}"})
    calls = (
        shlex.join(["k", source, target, "s" if is_stored(target) else "", job_directory_of(source) or ""]) + "\n"
        for source, target in pairs
    )
    return "".join([removal.functions(), copy_folder_functions(), script, *calls])
