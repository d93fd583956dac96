# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Names of files that the runner writes beside a run's outputs, none of which it replaces."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_hybrid.model import CwlObject, FileRef
from airflow_hybrid.model.walking import files
from airflow_hybrid.printable import printable


def free_path(path: str, outputs: CwlObject | None, prog: str) -> str:
    """The path for a report or a record of the run: a name with a number, if the run has an output there.

    :param outputs: of the run; None: it has none.
    """
    taken = {os.path.realpath(FileRef.parse(uri).path) for uri in _locations(outputs)}

    def is_output(candidate: Path) -> bool:
        places = (candidate, *candidate.absolute().parents)
        return os.path.lexists(candidate) and any(os.path.realpath(place) in taken for place in places)

    free, number = Path(path), 1
    while is_output(free):
        number += 1
        free = Path(path).with_stem(f"{Path(path).stem}-{number}")
    if number > 1:
        print(f"{prog}: {printable(path)} is an output of the run, and stays as it is", file=sys.stderr)
    return str(free)


def _locations(outputs: CwlObject | None) -> list[str]:
    return [str(file["location"]) for file in files(outputs or {}) if str(file.get("location", "")).startswith("file:")]
