# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs that were examined a moment ago, and of which nobody but the same fragment knows yet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model import CwlObject, FileRef
from airflow_hybrid.model.walking import files

FRESH_S = 5.0
"""how long an output need not be examined again; a job may wait for longer between that and its start"""


@dataclass
class JustMade:
    """The outputs of a fragment's steps: the next step need not compare them with their records once more.

    Only the first step that uses one: its jobs might change it.
    """

    _until: dict[tuple[str, int, str], float] = field(default_factory=dict)
    """by location, size and checksum; in seconds of the monotonic clock"""

    def note(self, outputs: Mapping[str, CwlObject], since: float) -> None:
        """Note the files that jobs have made.

        :param outputs: by the output folder of the job.
        :param since: when they were examined, in seconds of the monotonic clock.
        """
        for folder, value in outputs.items():
            for file in files(value):
                known = _known(file)
                ref = None if known is None else FileRef.of(known[0])
                if known is not None and ref is not None and ref.path.startswith(f"{folder}/"):
                    self._until[known] = since + FRESH_S

    def take(self, file: Mapping[str, Any]) -> bool:
        """Whether a file was made a moment ago; the next time it counts as any other."""
        known = _known(file)
        return known is not None and time.monotonic() < self._until.pop(known, 0.0)


def _known(file: Mapping[str, Any]) -> tuple[str, int, str] | None:
    if file.get("class") != "File" or file.get("size") is None or not file.get("checksum"):
        return None
    return str(file["location"]), int(file["size"]), str(file["checksum"])
