# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values of staging: what is needed where, what is known about its source, and what is recorded afterwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import LostDataError, TransferError
from airflow_hybrid.model import FileRef, LineageEntry
from airflow_hybrid.printable import redacted
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.files.objects import is_url
from airflow_hybrid.sites.files.store import sha1_of
from airflow_hybrid.sites.files.unchanged import A_LINK, GONE, UPDATED
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, producer_of
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.other_machines import on_another_machine, this_machine

T = TypeVar("T")
IN_PLACE = "in place"
"""route of a file that is already there"""
_MOST_NAMED = 10
"""files that an error lists"""
Key = tuple[str, str, str]
"""deployment, key of the host, path: identifies a copy"""


@dataclass(frozen=True)
class StageRequest:
    """One file or directory that is needed at a location.

    :ivar source: ``hybrid:``, ``file:``, ``http(s):`` or object store's URI.
    :ivar path: absolute path at ``host`` where it is needed.
    :ivar kind: ``f`` or ``d``.
    :ivar size: bytes; None if unknown.
    :ivar checksum: ``sha1$<hex>`` of a file; None if unknown.
    :ivar producer: what made it, for messages when it is gone.
    """

    source: str
    host: Host
    path: str
    kind: str = "f"
    size: int | None = None
    checksum: str | None = None
    producer: str = ""

    @classmethod
    def of(cls, file: Mapping[str, Any], host: Host, path: str) -> StageRequest:
        """The request for a CWL File or Directory object."""
        kind = "d" if file.get("class") == "Directory" else "f"
        size = file.get("size")
        return cls(str(file["location"]), host, path, kind, None if size is None else int(size), file.get("checksum"))

    @property
    def ref(self) -> FileRef | None:
        """Where the file is; None for a URL.

        :raises TransferError: the source is neither a file nor a URL.
        """
        if is_url(self.source):
            return None
        try:
            return FileRef.parse(self.source)
        except ValueError as error:
            raise TransferError(f"cannot be staged: {error}", retryable=False) from None

    @property
    def digest(self) -> str | None:
        return sha1_of(self.checksum)

    @property
    def target(self) -> FileRef:
        return FileRef(self.host.deployment, self.host.location, self.path)


@dataclass(frozen=True)
class Move:
    """A request whose source has been examined: its real path, size and digest are known."""

    request: StageRequest
    sent: str
    size: int
    digest: str

    @property
    def item(self) -> scripts.Item:
        return scripts.Item(self.request.kind, self.sent, self.request.path, self.digest)

    @property
    def text_bytes(self) -> int:
        """Roughly how much of a command line it takes."""
        return 2 * len(self.sent.encode(errors="surrogateescape")) + 2 * len(self.request.path.encode()) + 80


def key_of(request: StageRequest) -> Key:
    """The copy that a request asks for."""
    return (request.host.deployment, request.host.key, request.path)


@dataclass(frozen=True)
class Copied:
    """How a copy was made.

    :ivar route: ``link``, ``relay``, ...; ``in place``: nothing was moved.
    :ivar size: bytes.
    :ivar checksum: SHA-1 of a file, with or without the prefix ``sha1$``; None: unknown.
    """

    route: str
    size: int
    seconds: float = 0.0
    checksum: str | None = None

    def entry(self, request: StageRequest) -> LineageEntry:
        """The lineage entry of the copy."""
        checksum = self.checksum
        if checksum is not None and not checksum.startswith("sha1$"):
            checksum = f"sha1${checksum}"
        return LineageEntry(
            redacted(request.source),
            request.target.uri,
            self.route,
            self.size,
            round(self.seconds, 3),
            checksum,
            reused=self.route == IN_PLACE,
        )


def checksum_of(move: Move) -> str | None:
    """The checksum of a file; the digest of a tree is not a checksum in CWL's sense."""
    return move.digest if move.request.kind == "f" else None


def transfer_id() -> str:
    """A name that no other transfer has, for its temporary files."""
    return secrets.token_hex(8)


def gone(requests: Sequence[StageRequest], host: Host) -> TransferError:
    """The error for sources that do not exist."""
    return unlike([(request, GONE) for request in requests], host)


def unlike(problems: Sequence[tuple[StageRequest, str]], host: Host) -> TransferError:
    """The error for sources that differ from their records.

    :param problems: each with the words after its name.
    :return: a :class:`LostDataError` if jobs made all of them, and no job has changed one on purpose.
    """
    first = _unlike(*problems[0], host)
    by_jobs = all(_is_lost(request, problem) for request, problem in problems)
    message = first.message
    if len(problems) > 1:
        shown = [f"{request.source} {problem}" for request, problem in problems[:_MOST_NAMED]]
        rest = len(problems) - len(shown)
        shown += [f"and {rest} more"] if rest else []
        message = f"{counted(len(problems), 'file')} are not what was recorded:\n" + "\n".join(
            f"  {line}" for line in shown
        )
    if not by_jobs:
        return TransferError(message, where=first.where, hint=first.hint, retryable=False)
    files = [request.source for request, _ in problems]
    return LostDataError.of(files, message, where=first.where, hint=first.hint)


def _is_lost(request: StageRequest, problem: str) -> bool:
    ref = request.ref
    return ref is not None and job_directory_of(ref.path) is not None and not problem.startswith((UPDATED, A_LINK))


def _unlike(request: StageRequest, problem: str, host: Host) -> TransferError:
    here = isinstance(host, LocalHost)
    is_gone = problem.startswith(GONE)
    if is_gone and here and request.ref is not None:
        elsewhere = on_another_machine(request.ref.path, request.source)
        if elsewhere is not None:
            return elsewhere
    producer = request.producer or (producer_of(request.ref.path) if request.ref else None)
    hint = "if the change is intended, clear the run's task `inputs` and all tasks after it"
    if problem.startswith(UPDATED):
        hint = "steps after that step must use its output in place of this file"
    elif producer:
        hint = f"it was made by {producer}: clear that task to make it again"
    elif is_gone:
        hint = "put it back, or start a run with other inputs"
    if here and not producer:
        same = "the file, too" if is_gone else "the same file"
        hint += f". If Airflow's tasks run on several machines: {this_machine()} must have {same}"
    return TransferError(f"{request.source} {problem}", where=host.title, hint=hint, retryable=False)


async def gather_all(*work: Awaitable[T]) -> list[T]:
    """Wait for all, then raise the first error: a failing route does not interrupt the others."""
    results = await asyncio.gather(*work, return_exceptions=True)
    good = [result for result in results if not isinstance(result, BaseException)]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return good
