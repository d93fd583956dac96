# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs of jobs that ran before, in this DAG run or another: found, checked, and recorded (WorkReuse).

One command looks keys up, for all batches of a tool that come at about the same time; only where something is found
do two more per batch compare what is there now with what was recorded, sizes and checksums of outputs and of inputs.
Nothing here fails a task: a site that does not answer, or an answer that does not fit, means that the job runs.
"""

from __future__ import annotations

import functools
import hashlib
import json
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.cwl.fragment import PendingJob
from airflow_hybrid.cwl.reuse import claimed, reuse_key, wants_reuse, without_digest
from airflow_hybrid.engine.common import Logger, in_cwl_thread
from airflow_hybrid.engine.places import Place, ref_of
from airflow_hybrid.engine.spec import FragmentSpec
from airflow_hybrid.errors import SiteError
from airflow_hybrid.hooks import probe
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.data_mover import DataMover
from airflow_hybrid.hooks.reuse_index import reuse_index
from airflow_hybrid.model import CwlObject, FileRef, JsonValue, LineageEntry, Question, SiteFacts

HASHED_BYTES = 4 << 30
"""an input of which nothing is known is not read for this if it is larger"""
_SITES = frozenset({"local", "ssh", "slurm", "pbs", "sge"})
_CONTAINERS = re.compile("container|docker|image|runtime|singularity|apptainer", re.IGNORECASE)


@dataclass
class Found:
    """What a lookup gave.

    :ivar keys: job key -> reuse key, of the jobs whose outputs may be recorded.
    :ivar outputs: job key -> outputs, of the jobs that need not run.
    """

    keys: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, CwlObject] = field(default_factory=dict)
    lineage: list[LineageEntry] = field(default_factory=list)


class Reuse:
    """Looks up and records the jobs of one fragment."""

    def __init__(self, spec: FragmentSpec, mover: DataMover, log: Logger) -> None:
        self.spec = spec
        self.mover = mover
        self.log = log
        self._digests: dict[str, str | None] = {}

    async def find(self, place: Place, jobs: Sequence[PendingJob]) -> Found:
        """Which of some jobs of one step need not run.

        :raises CwlError: ``enableReuse`` of the document does not give true or false.
        """
        found = Found()
        if bind(self.spec.bindings, jobs[0].step_path).reuse is False:
            return found
        wanted = await in_cwl_thread(lambda: [job for job in jobs if wants_reuse(job)])
        if not wanted:
            return found
        try:
            await self._hash_inputs(wanted)
            found.keys = await in_cwl_thread(self._keys, wanted, self._place(place, jobs[0].step_path))
            if self.spec.reuse and found.keys:
                await self._look_up(place, {job.key: job for job in wanted}, found)
        except (SiteError, ValueError) as error:
            self.log.warning("%s: nothing can be reused: %s", place.host.title, error)
        return found

    def _keys(self, jobs: Sequence[PendingJob], place: JsonValue) -> dict[str, str]:
        known = {location: digest for location, digest in self._digests.items() if digest}
        keys = {job.key: reuse_key(job, known, place) for job in jobs}
        return {name: key for name, key in keys.items() if key}

    def _place(self, place: Place, step_path: str) -> JsonValue:
        """What of a place decides what a job gives: its template (modules, environment) and its container."""
        section = bind(self.spec.bindings, step_path).containers
        said: list[Any] = [place.options.get("template"), repr(place.containers if section is None else section)]
        names = [target.deployment for target in bind(self.spec.bindings, step_path).targets]
        for name in (*names, place.host.deployment):
            deployment: Deployment | None = self.spec.deployments.get(name)
            while deployment is not None:
                site = deployment.type in _SITES
                said.append({k: v for k, v in deployment.config.items() if not site or _CONTAINERS.search(k)})
                deployment = self.spec.deployments.get(deployment.wraps or "")
        return json.loads(json.dumps(said, default=str))

    async def _look_up(self, place: Place, jobs: Mapping[str, PendingJob], found: Found) -> None:
        index = reuse_index(place.host, place.workdir)
        keys = sorted(set(found.keys.values()))
        there = await index.find(
            keys, place.task_directory(self.spec.identity), functools.partial(place.patiently, log=self.log)
        )
        records = {key: record for key, record in there.records.items() if _is_sound(record)}
        # a job that this task has begun itself is found again in its job directory, and nowhere else
        hits = {name: records[key] for name, key in found.keys.items() if key in records and name not in there.begun}
        if not hits:
            return
        good = await self._unchanged(place, list(hits.values()))
        inputs_as_said = await self._inputs_as_said([jobs[name] for name in hits])
        ports = {name: set(jobs[name].output_ports) for name in hits}
        for name, record in hits.items():
            if record["key"] not in good or name not in inputs_as_said or set(record["outputs"]) != ports[name]:
                continue
            found.outputs[name] = _with_locations(record["outputs"], place)
            found.lineage.extend(
                LineageEntry(place.uri(path), place.uri(path), "reused", size, 0.0, checksum, reused=True)
                for path, size, checksum in record["files"]
            )

    # --- what is there now ------------------------------------------------------------------------------------------

    async def _unchanged(self, place: Place, records: Sequence[Mapping[str, Any]]) -> set[str]:
        """Keys of the records whose outputs are there as they were."""
        files = {path for record in records for path, _, _ in record["files"]}
        trees = {path for record in records for path, _ in record["trees"]}
        ask = functools.partial(_facts, place.host, sorted(files), sorted(trees))
        facts: SiteFacts = await place.patiently(ask, self.log)
        good = set()
        for record in records:
            same = all(
                (fact := facts.files.get(path)) is not None and (fact.size, fact.checksum) == (size, checksum)
                for path, size, checksum in record["files"]
            )
            if same and all(tree_digest(facts, path) == digest for path, digest in record["trees"]):
                good.add(str(record["key"]))
        return good

    async def _inputs_as_said(self, jobs: Sequence[PendingJob]) -> set[str]:
        """Keys of the jobs whose input files have the checksums that they are said to have."""
        said: dict[str, str] = {}
        for job in jobs:
            said.update(claimed(job))
        seen = await self._digests_of([location for location in said if location not in self._digests], [])
        wrong = {location for location, digest in said.items() if (self._digests | seen).get(location) != digest}
        return {job.key for job in jobs if not wrong & claimed(job).keys()}

    async def _hash_inputs(self, jobs: Sequence[PendingJob]) -> None:
        unknown: dict[str, CwlObject] = {}
        for job in jobs:
            unknown.update((item["location"], item) for item in without_digest(job))
        fresh = [item for location, item in unknown.items() if location not in self._digests]
        if not fresh:
            return
        self._digests.update(dict.fromkeys((item["location"] for item in fresh), None))
        small = [item["location"] for item in fresh if int(item.get("size") or 0) <= HASHED_BYTES]  # as far as said
        folders = [item["location"] for item in fresh if item["class"] == "Directory"]
        self._digests.update(await self._digests_of([x for x in small if x not in folders], folders))

    async def _digests_of(self, files: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
        """Digests of what is at some locations now; one probe per place."""
        asked: dict[str, tuple[Host, dict[str, str], dict[str, str]]] = {}
        for number, locations in enumerate((files, folders)):
            for location in locations:
                ref = ref_of({"location": location})
                if ref is None or not self.mover.knows(ref):
                    continue
                host = await self.mover.host_of(ref)
                entry = asked.setdefault(host.key, (host, {}, {}))
                entry[1 + number][ref.path] = location  # type: ignore[index]
        found: dict[str, str] = {}
        for host, paths, trees in asked.values():
            sizes = await probe.facts(host, [Question("stat", path) for path in paths])
            small = [path for path in paths if sizes.files[path].size <= HASHED_BYTES]
            facts = await _facts(host, small, await _small_folders(host, sorted(trees)))
            for path, location in paths.items():
                fact = facts.files.get(path)
                if fact is not None and fact.checksum:
                    found[location] = fact.checksum.partition("$")[2]
            for path, location in trees.items():
                digest = tree_digest(facts, path)
                if digest:
                    found[location] = digest
        return found

    # --- afterwards -------------------------------------------------------------------------------------------------

    def record(self, place: Place, found: Found, outputs: Mapping[str, CwlObject]) -> None:
        """Note the outputs of jobs that have succeeded, for others."""
        records = {}
        for name, value in outputs.items():
            key = found.keys.get(name)
            described = _described(value, place, self.spec.identity.directory) if key else None
            if key and described:
                records[key] = described
        if records:
            reuse_index(place.host, place.workdir).record(records)


def tree_digest(facts: SiteFacts, path: str) -> str | None:
    """A digest of names and contents below a folder; None if it is not there, or links are in it."""
    top = facts.files.get(path)
    if top is None or top.kind != "d" or path not in facts.listings:
        return None
    entries, pending = [], [path]
    while pending:
        folder = pending.pop()
        for name in facts.listings.get(folder, ()):
            at = f"{folder}/{name}"
            fact = facts.files.get(at)
            if fact is None or fact.realpath is not None or (fact.kind != "d" and not fact.checksum):
                return None
            entries.append([at[len(path) :], fact.kind, fact.checksum])
            if fact.kind == "d":
                pending.append(at)
    return "d" + hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()


async def _facts(host: Host, files: Sequence[str], trees: Sequence[str]) -> SiteFacts:
    return await probe.facts(host, [Question("checksum", path) for path in files], trees=trees)


async def _small_folders(host: Host, paths: Sequence[str]) -> list[str]:
    """Which of some folders are small enough to be read only to know them."""
    if not paths:
        return []
    stdin = "".join(f"{path}\0" for path in paths).encode(errors="surrogateescape")
    inner = (
        "for ah_f; do find -H \"$ah_f\" -type f -printf '%s\\n' 2>/dev/null | awk '{s += $1} END {print s + 0}'; done"
    )
    answer = await host.run(f"xargs -0 -r sh -c {shlex.quote(inner)} sh", stdin=stdin, label="size of input folders")
    sizes = answer.out.split()
    return [path for path, size in zip(paths, sizes, strict=False) if size.isdigit() and int(size) <= HASHED_BYTES]


def _described(value: CwlObject, place: Place, task: str) -> dict[str, Any] | None:
    """The record of a job's outputs; None if one of them is not here, or not all of it is known."""
    files: list[tuple[str, int, str]] = []
    trees: list[tuple[str, str]] = []

    def plain(item: Any) -> Any:
        if isinstance(item, list):
            return [plain(entry) for entry in item]
        if not isinstance(item, Mapping):
            return item
        kept = {key: plain(entry) for key, entry in item.items() if key != "location"}
        if item.get("class") in ("File", "Directory") and "location" in item:
            ref = FileRef.parse(item["location"])
            if (ref.deployment, ref.location) != (place.host.deployment, place.host.location):
                raise ValueError("an output is elsewhere")
            if item["class"] == "File":
                files.append((ref.path, int(item["size"]), str(item["checksum"])))
            else:
                digest = tree_digest(place.facts, ref.path)
                if digest is None:
                    raise ValueError("not all of a folder is known")
                trees.append((ref.path, digest))
            kept["path"] = ref.path
        return kept

    try:
        return {"outputs": plain(value), "files": files, "trees": trees, "task": task}
    except (ValueError, KeyError):
        return None


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether a record has the shape of one, and its outputs name no file that it does not describe.

    What a location says is input, not truth.
    """
    try:
        described = {
            path for path, size, checksum in record["files"] if isinstance(size, int) and checksum[:5] == "sha1$"
        }
        described |= {path for path, digest in record["trees"] if digest[:1] == "d"}
        normal = all(path.startswith("/") and posixpath.normpath(path) == path for path in described)
        return normal and isinstance(record["outputs"], dict) and _names_only(record["outputs"], described)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _names_only(value: Any, described: set[str]) -> bool:
    if isinstance(value, list):
        return all(_names_only(item, described) for item in value)
    if not isinstance(value, dict):
        return True
    if value.get("class") in ("File", "Directory") and (
        "location" in value or ("path" in value and value["path"] not in described)
    ):
        return False
    return all(_names_only(item, described) for item in value.values())


def _with_locations(value: Any, place: Place) -> Any:
    if isinstance(value, list):
        return [_with_locations(item, place) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _with_locations(item, place) for key, item in value.items()}
    if value.get("class") in ("File", "Directory") and "path" in value:
        kept["location"] = place.uri(kept.pop("path"))
    return kept
