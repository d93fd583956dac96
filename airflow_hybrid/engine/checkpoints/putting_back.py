# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Put lost outputs of jobs back from their checkpoints, to where they were.

So the values that tasks have published stay true, for all who read them, and nobody has to know of it.
"""

from __future__ import annotations

import functools
import posixpath
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence

from airflow_hybrid import shell_text
from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.engine.checkpoints.originals import Copy, Original
from airflow_hybrid.engine.checkpoints.stores import open_store
from airflow_hybrid.engine.common import Logger
from airflow_hybrid.errors import HybridError, TransferError
from airflow_hybrid.model import Checkpoint, FileRef, LineageEntry
from airflow_hybrid.printable import redacted
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover, StageRequest
from airflow_hybrid.sites.files.unchanged import Recorded, differences, note_updates
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.job_folders import job_directory_of
from airflow_hybrid.sites.patience import outages

MOST_SPOILT = 8
"""copies of a store that are not what they were, until nothing more is taken from it"""


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
        restore = functools.partial(_from_store, list(left.values()), checkpoint, deployments, mover, log)
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
    originals: Sequence[Original],
    checkpoint: Checkpoint,
    deployments: Mapping[str, Deployment],
    mover: DataMover,
    log: Logger,
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
        problems: list[TransferError] = []
        entries += await _what_can_be(functools.partial(_back_to, host, copies=copies, mover=mover), some, problems)
        for problem in problems:
            log.warning("a lost file is not taken from the checkpoint `%s`: %s", checkpoint.target, problem)
    return entries


async def _what_can_be(
    back: Callable[[Sequence[Original]], Awaitable[list[LineageEntry]]],
    originals: Sequence[Original],
    problems: list[TransferError],
) -> list[LineageEntry]:
    """Put back all but those of which the copy is not what it was: one of them does not spoil the others.

    :param problems: gets what is said of these.
    :raises TransferError: there are too many of them.
    """
    try:
        return await back(originals)
    except TransferError as error:
        if len(originals) == 1 and len(problems) < MOST_SPOILT:
            problems.append(error)
            return []
        if len(problems) >= MOST_SPOILT:
            raise
    half = len(originals) // 2
    first = await _what_can_be(back, originals[:half], problems)
    return first + await _what_can_be(back, originals[half:], problems)


async def _back_to(
    host: Host, originals: Sequence[Original], copies: Mapping[str, Copy], mover: DataMover
) -> list[LineageEntry]:
    originals = await _make_room(host, originals)
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
    there = await _that_are_back(host, requests)
    moved = iter(await mover.stage([request for request in requests if request.path not in there]))
    back = [there[request.path] if request.path in there else next(moved) for request in requests]
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


async def _that_are_back(host: Host, requests: Sequence[StageRequest]) -> dict[str, LineageEntry]:
    """Files from URLs that an earlier attempt has put back, by their paths; the mover would take them for others'."""
    fetched = {request.path: request for request in requests if request.ref is None and request.checksum is not None}
    recorded = [Recorded(path, "f", request.size, request.checksum) for path, request in fetched.items()]
    wrong = await differences(host, recorded) if recorded else {}
    return {
        path: LineageEntry(
            redacted(request.source), path, "in place", request.size or 0, 0.0, request.checksum, reused=True
        )
        for path, request in fetched.items()
        if path not in wrong
    }


def _entry(original: Original, copy: Copy, own: Sequence[LineageEntry]) -> LineageEntry:
    """One entry for all files of an original."""
    route = own[0].route if own else "copy"
    size, seconds = sum(entry.bytes for entry in own), sum(entry.seconds for entry in own)
    return LineageEntry(redacted(copy.source), original.ref.uri, route, size, seconds, original.file.get("checksum"))


async def _make_room(host: Host, originals: Sequence[Original]) -> list[Original]:
    """Make the folders of the tasks again, as ours; and take away the empty folders that a purge has left.

    :return: those that can be put back: the way to the others leads through a symbolic link, which a job has made.
    :raises SiteError: that is not possible.
    """
    tasks = {original.ref.uri: _task_of(original) for original in originals}
    lines = [f"{removal.make(task)} || exit 73" for task in sorted(set(tasks.values()))]
    for number, original in enumerate(originals):
        path = shlex.quote(original.ref.path)
        lines.append(f"if ah_way {shlex.quote(tasks[original.ref.uri])} {path}; then echo {number}")
        if original.kind == "d":
            lines.append(f"[ ! -d {path} ] || find {path} -depth -type d -exec rmdir '{{}}' ';' 2>/dev/null")
        lines.append("fi")
    text = removal.functions() + shell_text.load(__package__, "way.sh") + "".join(f"{line}\n" for line in lines)
    stdin = f"{text}exit 0\n".encode(errors="surrogateescape")
    result = await host.run("sh", stdin=stdin, label="folders of lost files")
    result.check("the folders of lost files cannot be made again")
    plain = set(result.out.split())
    return [original for number, original in enumerate(originals) if str(number) in plain]


def _task_of(original: Original) -> str:
    """The folder of the task that made it, by its path."""
    return posixpath.dirname(posixpath.dirname(job_directory_of(original.ref.path) or original.ref.path))


def source_of(entry: LineageEntry) -> str:
    """Where a file was put back from, for people: the deployment."""
    ref = FileRef.of(entry.source)
    return entry.source if ref is None else ref.deployment
