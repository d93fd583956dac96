# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Put lost outputs of jobs back from their checkpoints, to where they were.

So the values that tasks have published stay true, for all who read them, and nobody has to know of it.
"""

from __future__ import annotations

import functools
import posixpath
import shlex
from collections.abc import Mapping, Sequence

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.engine.checkpoints.originals import Copy, Original
from airflow_hybrid.engine.checkpoints.stores import open_store
from airflow_hybrid.engine.common import Logger
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import Checkpoint, FileRef, LineageEntry
from airflow_hybrid.printable import redacted
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover, StageRequest
from airflow_hybrid.sites.files.unchanged import note_updates
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.job_folders import job_directory_of
from airflow_hybrid.sites.patience import outages


async def put_back(
    originals: Sequence[Original],
    checkpoints: Sequence[Checkpoint],
    deployments: Mapping[str, Deployment],
    links: Sequence[Link],
    log: Logger,
) -> list[LineageEntry]:
    """Copy what is lost from the first checkpoint that has it; -> an entry for each that is there again.

    A checkpoint that cannot be read is left out, with a warning: its files count as not there.
    """
    left = {original.ref.uri: original for original in originals}
    entries: list[LineageEntry] = []
    mover = DataMover(Locations(deployments, links))
    for checkpoint in checkpoints:
        if not left:
            break
        restore = functools.partial(_from_store, list(left.values()), checkpoint, deployments, mover)
        try:
            back = await outages.current().through(restore, checkpoint.target, is_known=True)
        except HybridError as error:
            log.warning("lost files are not taken from the checkpoint `%s`: %s", checkpoint.target, error)
            continue
        entries += back
        for entry in back:
            left.pop(entry.destination, None)
    return entries


async def _from_store(
    originals: Sequence[Original], checkpoint: Checkpoint, deployments: Mapping[str, Deployment], mover: DataMover
) -> list[LineageEntry]:
    store = await open_store(deployments, checkpoint)
    copies = await store.copies(originals)
    by_host: dict[tuple[str, str], tuple[Host, list[Original]]] = {}
    for original in originals:
        if original.ref.uri in copies:
            host = await mover.locations.host_of(original.ref)
            by_host.setdefault((host.deployment, host.key), (host, []))[1].append(original)
    entries: list[LineageEntry] = []
    for host, some in by_host.values():
        entries += await _back_to(host, some, copies, mover)
    return entries


async def _back_to(
    host: Host, originals: Sequence[Original], copies: Mapping[str, Copy], mover: DataMover
) -> list[LineageEntry]:
    await _make_room(host, originals)
    of_request: list[Original] = []
    requests: list[StageRequest] = []
    after: list[str] = []
    for original in originals:
        copy, path = copies[original.ref.uri], original.ref.path
        after += [f"mkdir -p -- {shlex.quote(posixpath.join(path, folder))}" for folder in ("", *copy.folders)
                  if copy.folders or not copy.members]  # fmt: skip
        for member in copy.members:
            target = posixpath.join(path, member.name) if member.name else path
            kind = "f" if member.name else original.kind
            requests.append(StageRequest(member.source, host, target, kind, member.size, member.checksum))
            of_request.append(original)
            if member.executable:
                after.append(f"chmod u+x -- {shlex.quote(target)}")
    back = await mover.stage(requests)
    if after:
        text = "umask 077\n" + "".join(f"{line} || exit\n" for line in after)
        (await host.run("sh", stdin=text.encode(errors="surrogateescape"), label="modes of files")).check(
            "the modes of files that were put back cannot be set"
        )
    await note_updates(host, [original.ref.path for original in originals if original.kind == "d"])
    parts: dict[str, list[LineageEntry]] = {}
    for entry, original in zip(back, of_request, strict=True):
        parts.setdefault(original.ref.uri, []).append(entry)
    return [_entry(original, copies[original.ref.uri], parts.get(original.ref.uri, [])) for original in originals]


def _entry(original: Original, copy: Copy, own: Sequence[LineageEntry]) -> LineageEntry:
    """One entry for all files of an original."""
    route = own[0].route if own else "copy"
    size, seconds = sum(entry.bytes for entry in own), sum(entry.seconds for entry in own)
    return LineageEntry(redacted(copy.source), original.ref.uri, route, size, seconds, original.file.get("checksum"))


async def _make_room(host: Host, originals: Sequence[Original]) -> None:
    """Make the folders of the tasks again, as ours; and take away the empty folders that a purge has left.

    :raises SiteError: that is not possible.
    """
    jobs = {job for original in originals if (job := job_directory_of(original.ref.path)) is not None}
    tasks = sorted({posixpath.dirname(posixpath.dirname(job)) for job in jobs})
    folders = [original.ref.path for original in originals if original.kind == "d"]
    lines = [f"{removal.make(task)} || exit 73" for task in tasks]
    lines += [
        f"[ ! -d {shlex.quote(path)} ] || find {shlex.quote(path)} -depth -type d -exec rmdir '{{}}' ';' 2>/dev/null"
        for path in folders
    ]
    text = removal.functions() + "".join(f"{line}\n" for line in [*lines, "exit 0"])
    result = await host.run(text, label="folders of lost files")
    result.check("the folders of lost files cannot be made again")


def source_of(entry: LineageEntry) -> str:
    """Where a file was put back from, for people: the deployment."""
    ref = FileRef.of(entry.source)
    return entry.source if ref is None else ref.deployment
