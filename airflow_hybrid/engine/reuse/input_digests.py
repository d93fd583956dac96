# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Digests of the input files of jobs, wherever they are."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Mapping, Sequence

from airflow_hybrid import settings
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.cwl.jobs.reuse import claimed, contents_of, without_digest
from airflow_hybrid.engine.executables import words_for
from airflow_hybrid.engine.placing.places import ref_of
from airflow_hybrid.engine.reuse.records import tree_digest
from airflow_hybrid.model import CwlObject, Question, SiteFacts
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.hosts.base import PATH_BYTES, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.probing import probe


class InputDigests:
    """Reads inputs where they are. Nothing is cached: a file may have changed since it was read."""

    def __init__(self, locations: Locations) -> None:
        self.locations = locations

    async def unsaid(self, jobs: Sequence[PendingJob]) -> dict[str, str]:
        """Digests of files without a checksum, and of directories, as they are now: location -> digest.

        Files that cannot be read, or are too large to be read just for this, are left out.
        """
        unknown: dict[str, CwlObject] = {}
        for job in jobs:
            unknown.update((item["location"], item) for item in without_digest(job))
        small = [item for item in unknown.values() if int(item.get("size") or 0) <= _most_bytes()]  # as far as said
        files = [item["location"] for item in small if item["class"] != "Directory"]
        return await self.now(files, [item["location"] for item in small if item["class"] == "Directory"])

    async def as_said(self, jobs: Sequence[PendingJob]) -> set[str]:
        """Keys of the jobs whose input files really have the recorded checksums."""
        recorded: dict[str, str] = {}
        for job in jobs:
            recorded.update(claimed(job))
        current = await self.now(recorded, [])
        wrong = {location for location, digest in recorded.items() if current.get(location) != digest}
        return {job.key for job in jobs if not wrong & claimed(job).keys()}

    async def unchanged(self, jobs: Sequence[PendingJob], contents: Mapping[str, Mapping[str, str]]) -> set[str]:
        """Keys of the jobs whose inputs are unchanged: ``contents`` by job (:func:`contents_of`)."""
        digests = await self.unsaid(jobs)
        unchanged_files = await self.as_said(jobs)
        now = await asyncio.to_thread(lambda: {job.key: self.contents(job, digests) for job in jobs})
        return {job.key for job in jobs if job.key in unchanged_files and now[job.key] == contents[job.key]}

    def contents(self, job: PendingJob, digests: Mapping[str, str]) -> dict[str, str] | None:
        """:func:`contents_of`, and whether each File is executable; a directory's digest includes that. Blocks."""
        contents = contents_of(job, digests)
        if contents is None:
            return None
        files = [item for item in job.files() if item["class"] != "Directory"]
        for location, word in words_for(files, self.locations.deployments).items():
            contents[location] += f" {word}"
        return contents

    async def now(self, files: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
        """Current digests of files and folders by location; one probe per place."""
        asked: dict[str, tuple[Host, dict[str, str], dict[str, str]]] = {}
        for number, locations in enumerate((files, folders)):
            for location in locations:
                ref = ref_of({"location": location})
                if ref is None or not self.locations.knows(ref):
                    continue
                host = await self.locations.host_of(ref)
                entry = asked.setdefault(host.key, (host, {}, {}))
                entry[1 + number][ref.path] = location  # type: ignore[index]
        digests: dict[str, str] = {}
        for host, paths, trees in asked.values():
            sizes = await probe.facts(host, [Question("stat", path) for path in paths])
            small = [path for path in paths if sizes.files[path].size <= _most_bytes()]
            facts = await checksums(host, small, await _small_folders(host, sorted(trees)))
            for path, location in paths.items():
                fact = facts.files.get(path)
                if fact is not None and fact.checksum:
                    digests[location] = fact.checksum.partition("$")[2]
            for path, location in trees.items():
                digest = tree_digest(facts, path)
                if digest:
                    digests[location] = digest
        return digests


def _most_bytes() -> int:
    """A larger input without a known checksum is not read just for this."""
    return settings.current().reuse_file_size << 20


async def checksums(host: Host, files: Sequence[str], trees: Sequence[str]) -> SiteFacts:
    return await probe.facts(host, [Question("checksum", path) for path in files], trees=trees)


async def _small_folders(host: Host, paths: Sequence[str]) -> list[str]:
    """The folders that are small enough to be read just for their digest."""
    if not paths:
        return []
    stdin = "".join(f"{path}\0" for path in paths).encode(errors="surrogateescape")
    inner = (
        "for ah_f; do find -H \"$ah_f\" -type f -printf '%s\\n' 2>/dev/null | awk '{s += $1} END {print s + 0}'; done"
    )
    with answers_up_to(answer_bytes(len(paths), PATH_BYTES)):
        answer = await host.run(
            f"xargs -0 -r sh -c {shlex.quote(inner)} sh", stdin=stdin, label="size of input folders"
        )
    sizes = answer.out.split()
    return [path for path, size in zip(paths, sizes, strict=False) if size.isdigit() and int(size) <= _most_bytes()]
