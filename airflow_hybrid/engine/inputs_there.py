# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Staging: bring the input files of jobs to the place where they run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.amounts import counted
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.checkpoints.near import near_copies
from airflow_hybrid.engine.executables import words_at_sites, words_for
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place, ref_of
from airflow_hybrid.errors import CwlError, TransferError
from airflow_hybrid.model import CwlObject, FileRef, LineageEntry
from airflow_hybrid.sites.files.mover import StageRequest, store_path
from airflow_hybrid.sites.hosts.job_folders import job_directory_of


@dataclass(frozen=True)
class StagedInputs:
    """The input files of jobs at a place.

    :ivar paths: the path of each URI there.
    :ivar lineage: of the files.
    :ivar changed: an input differs from its record, and jobs that change inputs in place may have done that already.
    """

    paths: dict[str, str]
    lineage: list[LineageEntry]
    changed: bool = False


async def stage_inputs(context: FragmentContext, place: Place, jobs: Sequence[PendingJob]) -> StagedInputs:
    """Bring the input files of jobs of one step to a place.

    :raises CwlError: the location of an input names a deployment that this DAG does not have.
    :raises SiteError: an input is not what its object says, or cannot be transferred.
    """
    return await place.patiently(functools.partial(_stage_inputs, context, place, jobs))


async def _stage_inputs(context: FragmentContext, place: Place, jobs: Sequence[PendingJob]) -> StagedInputs:
    paths, in_place, elsewhere = _by_place(context, place, jobs)
    executables = await asyncio.to_thread(words_for, elsewhere, context.spec.deployments)
    executables.update(await words_at_sites(elsewhere, context.locations, context.log))
    near: dict[str, str] = {}
    if not jobs[0].updates_in_place:  # a link to a checkpoint is not for a job that may change it
        near = await near_copies(context, place, elsewhere)
    requests: list[StageRequest] = []
    for file in elsewhere:
        uri = file["location"]
        paths[uri] = store_path(place.workdir, file, executables.get(uri, ""))
        requests.append(StageRequest.of({**file, "location": near.get(uri, uri)}, place.host, paths[uri]))
    changed = False
    try:
        await _check_in_place(context, place, in_place)
    except TransferError:
        if not jobs[0].updates_in_place:
            raise
        changed = True
    for members in await _listed(context, jobs):
        await context.mover.check_in_place(members, context.spec.began)
    return StagedInputs(paths, await _stage(context, place, requests), changed)


async def check_inputs(context: FragmentContext, place: Place, jobs: Sequence[PendingJob]) -> None:
    """Check that the inputs that jobs use where they are still match their records.

    :raises TransferError: one does not.
    :raises SiteError: the place does not answer.
    """
    _, in_place, _ = _by_place(context, place, jobs)
    await _check_in_place(context, place, in_place)


async def _check_in_place(context: FragmentContext, place: Place, requests: Sequence[StageRequest]) -> None:
    check = functools.partial(context.mover.check_in_place, requests, context.spec.began)
    await place.patiently(check)


def _by_place(
    context: FragmentContext, place: Place, jobs: Sequence[PendingJob]
) -> tuple[dict[str, str], list[StageRequest], list[CwlObject]]:
    """The paths of the jobs' inputs by URI, those that are at the place already, and the others (without a path)."""
    paths: dict[str, str] = {}
    in_place: list[StageRequest] = []
    elsewhere: list[CwlObject] = []
    for job in jobs:
        for file in job.files():
            uri = file["location"]
            if uri in paths:
                continue
            ref = ref_of(file)
            if ref is not None:
                _check_known(context, ref, job)
            if ref is not None and context.locations.same_storage(ref, place.host):
                paths[uri] = ref.path
                if not context.just_made.take(file):
                    in_place.append(StageRequest.of(file, place.host, ref.path))
                continue
            paths[uri] = ""
            elsewhere.append(file)
    return paths, in_place, elsewhere


async def _stage(context: FragmentContext, place: Place, requests: Sequence[StageRequest]) -> list[LineageEntry]:
    if not requests:
        return []
    entries = await context.mover.stage(requests)
    moved = [entry for entry in entries if not entry.reused]
    context.log.info(
        "staged %s to %s: %d moved (%d bytes), %d already there",
        counted(len(entries), "file"), place.host.title, len(moved), sum(entry.bytes for entry in moved),
        len(entries) - len(moved),
    )  # fmt: skip
    return entries


async def _listed(context: FragmentContext, jobs: Sequence[PendingJob]) -> list[list[StageRequest]]:
    """The listings of users' own directories, by location: their contents may have changed since."""
    requests: dict[str, StageRequest] = {}
    for job in jobs:
        for file in job.files():
            for member in _members(file):
                ref = ref_of(member)
                if ref is not None and ref.uri not in requests and job_directory_of(ref.path) is None:
                    _check_known(context, ref, job)
                    requests[ref.uri] = StageRequest.of(member, await context.locations.host_of(ref), ref.path)
    by_host: dict[str, list[StageRequest]] = {}
    for request in requests.values():
        by_host.setdefault(request.host.key, []).append(request)
    return list(by_host.values())


def _check_known(context: FragmentContext, ref: FileRef, job: PendingJob) -> None:
    if not context.locations.knows(ref):
        raise CwlError(
            f"the location of an input file names deployment {ref.deployment!r}, which this DAG does not have",
            where=job.label,
        )


def _members(directory: CwlObject) -> Iterator[CwlObject]:
    """The entries in the listing of a Directory, and in the listings below it."""
    for member in directory.get("listing") or []:
        if isinstance(member, Mapping) and not str(member.get("location", "_:")).startswith("_:"):
            yield dict(member)
            yield from _members(dict(member))
