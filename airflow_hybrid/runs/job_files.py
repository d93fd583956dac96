# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The standard output and error of a run's jobs, read where the jobs ran, when somebody asks; also of running jobs.

Which job is meant comes from XComs, which can be edited. So they only select: the deployments and their Connections are
those of the serialized DAG, and a file is read only if its path, and its real path at the site, is in the run's own
folder of a work directory there.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.placing.places import place_title
from airflow_hybrid.errors import HybridError, SiteError
from airflow_hybrid.model import Target
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.records import JobRecord, job_name
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.found_jobs import FoundJob, Stream, normal_name
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.outline import deployments_in_run, outline_of_run
from airflow_hybrid.sites.batches.directory import is_batch_path
from airflow_hybrid.sites.batches.submitted import PLAIN_NAME, BatchMeta, SubmittedBatch
from airflow_hybrid.sites.connectors import Connector, open_connector
from airflow_hybrid.sites.files.pieces import FilePlace, NoFileError, Piece, read_piece
from airflow_hybrid.sites.hosts.base import Host

PIECE_BYTES = 1 << 20
"""the most that one answer has"""
MOST_META_BYTES = 16 << 20
"""description of a batch of some 300,000 jobs"""
_MOST_KEPT = 16
_KEPT_BYTES = 2 << 20

_KEPT: OrderedDict[tuple[str, str], BatchMeta] = OrderedDict()
"""descriptions of batches that were read last, by host and directory: they do not change"""


@dataclass(frozen=True)
class _Job:
    """A job at its site.

    :ivar folder: absolute path of a work directory; ``batch``: path of the batch directory below it.
    :ivar key: name of the job's directory in it.
    """

    host: Host
    folder: str
    batch: str
    key: str


class JobFiles:
    """Reads the files of a run's jobs. Connections are those of the running event loop (:mod:`..sites.closing`).

    :param deployments: as the run's tasks have them. Templates in the options of their services are not rendered; those
        are for submitting only.
    """

    def __init__(self, run: RunKey, outline: DagOutline, deployments: Mapping[str, Deployment]) -> None:
        self._run = run
        self._outline = outline
        self._deployments = deployments

    async def read(self, job: FoundJob, stream: Stream, start: int = 0, most: int = PIECE_BYTES) -> Piece:
        """Read a piece of what a job has written so far.

        :param start: offset; negative: from the end.
        :param most: bytes, not more than :data:`PIECE_BYTES`.
        :raises NoFileError: it has written nothing yet, or the file is gone.
        :raises HybridError: it cannot be read; says why.
        """
        found = await self._find(job)
        meta = await _meta(found, job.name)
        file = _stream_path(found, meta, stream)
        if file is None:
            raise HybridError(
                f"the {stream} of {printable(job.name)} is written to a path outside of its directory: it is not read"
            )
        at = FilePlace(found.host, found.folder, file, above=posixpath.join(found.batch, found.key))
        try:
            return await read_piece(at, start, max(0, min(most, PIECE_BYTES)))
        except NoFileError as error:
            raise _missing(error, job, stream) from None

    async def is_over(self, job: FoundJob) -> bool:
        """Whether a job has ended, though its batch may not have: it has left its exit code.

        :raises HybridError: nobody knows.
        """
        if not job.batches:
            return True
        found = await self._find(job)
        meta = await _meta(found, job.name)
        if found.key not in meta.keys:
            return False
        file = posixpath.join(found.batch, "ec", str(meta.keys.index(found.key)))
        try:
            exit_code = await read_piece(FilePlace(found.host, found.folder, file, above=found.batch), 0, 1)
        except NoFileError:
            return False
        return bool(exit_code.data)

    async def _find(self, job: FoundJob) -> _Job:
        if job.record is not None and not job.batches:
            return await self._ended(job, job.record)
        return await self._running(job)

    # --- where it is ------------------------------------------------------------------------------------------------

    async def _ended(self, job: FoundJob, record: JobRecord) -> _Job:
        if record.reused:
            raise HybridError(f"{printable(job.name)} did not run: its outputs are those of an earlier job")
        if not record.directory:
            raise HybridError(
                f"{printable(job.name)} has no directory: it ended before it had begun", hint=printable(record.reason)
            )
        connector = self._connector(record.deployment)
        host = await self._host(connector, record)
        folder, batch = await self._below(job, record.deployment, host, posixpath.dirname(record.directory))
        return _Job(host, folder, batch, _plain(posixpath.basename(record.directory)))

    async def _running(self, job: FoundJob) -> _Job:
        """A job of a batch that has not ended. Which one it is stands in the batch's description at the site."""
        for task_id, map_index, batch in job.batches:
            path = batch.step.partition(": ")[0]
            at = replace(job, task_id=task_id, map_index=map_index)
            for deployment, host in await self._hosts_of(path, batch.place):
                folder, below = await self._below(at, deployment, host, batch.directory)
                meta = await _meta(_Job(host, folder, below, ""), job.name)
                key = _key(meta, path, job.name)
                if key is not None:
                    return _Job(host, folder, below, key)
        if job.record is not None:
            return await self._ended(job, job.record)
        raise HybridError(
            f"{printable(job.name)} has neither ended nor been submitted",
            hint="airflow hybrid jobs shows which jobs have, and how far batches are; a batch that an earlier version"
            " of airflow_hybrid submitted does not say which jobs it has",
        )

    def _connector(self, deployment: str) -> Connector:
        """:raises HybridError: the DAG has no such deployment, or the run may not use it."""
        return open_connector(self._deployments, deployment)

    async def _host(self, connector: Connector, record: JobRecord) -> Host:
        """:raises HybridError: the deployment has no such location."""
        hosts = await connector.hosts(record.service or None)
        for host in hosts:
            if host.title == record.location or len(hosts) == 1:
                return host
        raise HybridError(
            f"deployment {printable(record.deployment)} has no location {printable(record.location)}",
            hint=f"it has: {printable(', '.join(host.title for host in hosts))}",
        )

    async def _hosts_of(self, step: str, place: str) -> list[tuple[str, Host]]:
        """The locations of a step's targets that a place's title is that of."""
        found = []
        for target in self._targets(step):
            for host in await self._connector(target.deployment).hosts(target.service):
                if place_title(target, host) == place:
                    found.append((target.deployment, host))
        return found

    def _targets(self, step: str) -> list[Target]:
        outline = self._outline.step(step)
        if outline is not None and outline.targets:
            return list(outline.targets)
        return list(dict.fromkeys(target for other in self._outline.steps for target in other.targets))

    async def _below(self, job: FoundJob, deployment: str, host: Host, batch: str) -> tuple[str, str]:
        """The work directory that a batch directory is in, and its path below that.

        :raises HybridError: it is not in the folder of its task in any work directory there.
        """
        connector = self._connector(deployment)
        targets = [t for step in self._outline.steps for t in step.targets if t.deployment == deployment]
        folder = task_folder(self._run.dag_id, self._run.run_id, job.task_id, job.map_index)
        for target in dict.fromkeys([*targets, Target(deployment)]):
            workdir = target.workdir or await connector.workdir(host, target.service)
            start = f"{posixpath.normpath(workdir).rstrip('/')}/"
            below = batch.removeprefix(start)
            if below != batch and below.startswith(f"{folder}/") and is_batch_path(below[len(folder) + 1 :]):
                return start.rstrip("/") or "/", below
        raise HybridError(
            f"the directory of {printable(job.name)} is not in the run's folder of a work directory of"
            f" {printable(deployment)}: {printable(batch)}: nothing is read there",
            where=host.title,
            hint="the work directory was changed since, or somebody changed the record",
        )


def job_files_of_run(session: Session, run: RunKey) -> JobFiles:
    """What reads the files of a run's jobs.

    :raises HybridError: there is no such run, or its DAG is none of this package.
    """
    outline = outline_of_run(session, run)
    return JobFiles(run, outline, deployments_in_run(session, run, outline))


# --- the description of a batch, which jobs can change: it only selects among the batch's files ---------------------


async def _meta(job: _Job, name: str) -> BatchMeta:
    """:raises HybridError: it is gone, or damaged."""
    kept_as = (job.host.key, posixpath.join(job.folder, job.batch))
    known = _KEPT.get(kept_as)
    if known is not None:
        _KEPT.move_to_end(kept_as)
        return known
    file = posixpath.join(job.batch, "meta.json")
    try:
        piece = await read_piece(FilePlace(job.host, job.folder, file, above=job.batch), 0, MOST_META_BYTES)
    except NoFileError as error:
        raise _removed(error, name) from None
    try:
        meta = BatchMeta.from_json(await asyncio.to_thread(json.loads, piece.data))
    except (ValueError, RecursionError) as error:
        raise SiteError(
            f"the description of the batch of {printable(name)} is damaged: {printable(str(error))}",
            where=f"{job.host.title}: {file}",
            retryable=False,
        ) from None
    if piece.size <= _KEPT_BYTES:
        _KEPT[kept_as] = meta
        while len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
    return meta


def _key(meta: BatchMeta, step: str, name: str) -> str | None:
    """The key of a job in a batch; None: it has no such job."""
    indexes = meta.indexes or ("",) * len(meta.keys)
    if len(meta.keys) == 1 and normal_name(name) == step:
        return meta.keys[0]
    if len(meta.keys) > 1 and not meta.indexes:
        return None
    for key, index in zip(meta.keys, indexes, strict=True):
        if normal_name(job_name(step, index)) == normal_name(name):
            return key
    return None


def _stream_path(job: _Job, meta: BatchMeta, stream: Stream) -> str | None:
    """Path below the work directory of what a job's command writes to; None: outside of the job's directory."""
    batch = SubmittedBatch(posixpath.join("/", job.batch), (), meta)
    if job.key not in meta.keys:
        return posixpath.join(job.batch, job.key, stream)
    index = meta.keys.index(job.key)
    path = batch.stdout_path(index) if stream == "stdout" else batch.stderr_path(index)
    inside = path.startswith(f"/{job.batch}/{job.key}/")
    return path[1:] if inside else None


def _plain(name: str) -> str:
    """:raises HybridError: it is no name of a job's directory."""
    if not PLAIN_NAME.match(name):
        raise HybridError(f"not the directory of a job: {printable(name)}")
    return name


def _missing(error: NoFileError, job: FoundJob, stream: Stream) -> HybridError:
    if not error.folder_is_there:
        return _removed(error, job.name)
    if job.batches:
        problem = f"{printable(job.name)} has not begun: it has no {stream} yet"
        return NoFileError(problem, folder_is_there=True, where=error.where or "")
    return error


def _removed(error: NoFileError, name: str) -> HybridError:
    removed = NoFileError(
        f"the directory of {printable(name)} is gone: {error.message}", folder_is_there=False, where=error.where or ""
    )
    removed.hint = (
        "a clean-up removed it, it went with a deployment that was made for the run, or the job ran on another machine"
        " than this one (local deployments)"
    )
    return removed
