# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How many bytes the jobs' files have, as far as it is known at no further command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.step_run import JobProgress, StepRun
from airflow_hybrid.model import CwlObject, FileRef
from airflow_hybrid.model.files import SiteFacts
from airflow_hybrid.model.walking import files


class InputSizes:
    """Sizes of the jobs' input files: as the place saw them, or as their values say."""

    def __init__(self, run: StepRun) -> None:
        self._paths = run.paths
        self._facts: SiteFacts = run.place.facts

    def of(self, progress: JobProgress) -> int | None:
        """The sum for a job, in bytes; None: the size of one of its files is unknown."""
        total = 0
        for item in progress.job.files():
            fact = self._facts.files.get(self._paths.get(item["location"], ""))
            size = fact.size if fact is not None and fact.kind == "f" else item.get("size")
            if not isinstance(size, int):
                return None
            total += size
        return total


def size_of_outputs(outputs: CwlObject, place: Place) -> int | None:
    """The sum of a job's output files, in bytes, with those in folders; None: the size of one of them is unknown."""
    total = 0
    for item in files(outputs):
        size = _size_of_folder(item, place) if item["class"] == "Directory" else _size_of_file(item)
        if size is None:
            return None
        total += size
    return total


def _size_of_file(file: Mapping[str, Any]) -> int | None:
    size, contents = file.get("size"), file.get("contents")
    if size is None and isinstance(contents, str) and "location" not in file:  # a literal
        return len(contents.encode(errors="surrogatepass"))
    return size if isinstance(size, int) else None


def _size_of_folder(folder: Mapping[str, Any], place: Place) -> int | None:
    """The files of a listing are counted by themselves; without one, what the probe of the outputs saw below the folder
    counts.
    """
    if "location" not in folder or "listing" in folder:
        return 0
    try:
        ref = FileRef.of(str(folder["location"]))
    except ValueError:
        return None
    if ref is None or (ref.deployment, ref.location) != (place.host.deployment, place.host.location):
        return None
    return _size_of_tree(place.facts, ref.path)


def _size_of_tree(facts: SiteFacts, top: str) -> int | None:
    total, pending = 0, [top]
    while pending:
        folder = pending.pop()
        if folder not in facts.listings:
            return None
        for name in facts.listings[folder]:
            path = f"{folder}/{name}"
            fact = facts.files.get(path)
            if fact is None:
                return None
            if fact.kind == "d":
                pending.append(path)
            elif fact.kind == "f":
                total += fact.size
    return total
