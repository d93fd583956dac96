# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Questions about batches to a site, repeated until they are answered: a failed question is never an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from airflow_hybrid.errors import SiteError, StatusUnknownError
from airflow_hybrid.printable import readable
from airflow_hybrid.schedulers.base import Account, Scheduler
from airflow_hybrid.schedulers.usage import Usage
from airflow_hybrid.sites.batches import answers, commands
from airflow_hybrid.sites.batches.directory import Evidence
from airflow_hybrid.sites.batches.poller import STATUS_BYTES
from airflow_hybrid.sites.batches.submitted import BatchMeta, SubmittedBatch
from airflow_hybrid.sites.hosts.base import JOB_BYTES, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.patience.backoff import Backoff
from airflow_hybrid.sites.patience.outages import Outage, given_up

log = logging.getLogger(__name__)
T = TypeVar("T")

TAILS_BYTES = 1 << 20
META_BYTES = 64 << 20
"""limit for reading a batch that another process submitted, with its description, however many jobs it has"""

USAGE_PAUSES_S = (0.5, 1.0)
"""before the accounting is asked what elements used, which have just ended, and is asked again about those that it does
not know yet
"""


class Questions:
    """Questions about the batches at one host under one scheduler."""

    def __init__(self, host: Host, scheduler: Scheduler) -> None:
        self.host = host
        self.scheduler = scheduler

    async def describe(self, directory: str) -> SubmittedBatch:
        """A batch that another process submitted, as described in its directory.

        :raises SiteError: there is none, or its description is damaged.
        """
        where = f"{self.host.title}: {directory}"
        evidence = await self._read(directory, with_description=True, most=META_BYTES)
        if evidence.description is None:
            raise SiteError("there is no batch in this directory", where=where)
        try:
            meta = BatchMeta.from_json(evidence.description)
        except ValueError as error:
            raise SiteError(
                f"the description of this batch is damaged: {error}",
                where=f"{where}/meta.json",
                hint="something other than airflow_hybrid wrote to it; clear the task to run it again",
                retryable=False,
            ) from None
        return SubmittedBatch(directory, evidence.ids, meta)

    async def evidence(self, batch: SubmittedBatch, already_read: str | None = None) -> Evidence:
        """What a batch directory says.

        :param already_read: its content, if it was read a moment ago.
        """
        if already_read is not None:
            try:
                return answers.parse_evidence(already_read)
            except ValueError as error:
                log.info("%s: %s: reading %s again", self.host.title, error, batch.directory)
        most = answer_bytes(batch.total, JOB_BYTES)
        return await self._read(batch.directory, with_description=False, most=most)

    async def _read(self, directory: str, *, with_description: bool, most: int) -> Evidence:
        async def ask() -> Evidence:
            command = commands.evidence_command(directory, with_description)
            with answers_up_to(most):
                answer = await self.host.run(command, label=f"read {directory}")
            try:
                return answers.parse_evidence(answer.out)
            except ValueError as error:
                raise StatusUnknownError(f"{error}: {answer.err[-500:]}", where=self.host.title) from None

        return await self.patiently(ask)

    async def account(self, batch: SubmittedBatch) -> Account:
        """What the queue (with all of the user's jobs) and the accounting say about a batch."""
        try:
            with answers_up_to(answer_bytes(batch.total, JOB_BYTES, STATUS_BYTES)):
                answer = await self.host.run(
                    self.scheduler.account_command(batch.ids), label=f"{self.scheduler.name} accounting"
                )
        except SiteError as error:
            if not error.retryable:
                raise
            return Account({}, complete=False, problem=error.message, heard=False)
        return self.scheduler.parse_account(answer.out, batch.ids)

    async def usage(self, elements: Sequence[str]) -> dict[str, Usage]:
        """What the accounting says about elements that have ended; it may be some seconds behind, and is not waited for
        much longer than :data:`USAGE_PAUSES_S`.
        """
        ids = list(dict.fromkeys(self.scheduler.array_id(element) for element in elements))
        command = self.scheduler.usage_command(ids) if ids else ""
        used: dict[str, Usage] = {}
        for pause_s in USAGE_PAUSES_S if command else ():
            await asyncio.sleep(pause_s)
            try:
                with answers_up_to(STATUS_BYTES):
                    answer = await self.host.run(command, label=f"{self.scheduler.name} usage")
                known = self.scheduler.parse_usage(answer.out, ids)
            except (SiteError, ValueError) as error:
                log.info("%s: what jobs used is unknown: %s", self.host.title, error)
                break
            if known is None:
                break
            used.update(known)
            if all(element in used for element in elements):
                break
        return used

    async def space(self, directory: str) -> str:
        """The free space of the batch directory's file system, for a message."""
        try:
            answer = await self.host.run(commands.space_command(directory), label="free space")
        except SiteError as error:
            log.warning("%s: the free space is unknown: %s", self.host.title, error)
            return directory
        space = answers.parse_space(answer.out)
        return f"now {space} ({directory})" if space else directory

    async def tails(self, directory: str, paths: Sequence[str]) -> list[str]:
        """The ends of some files of a batch's jobs, in one command; an empty list if they cannot be read."""
        if not paths:
            return []
        try:
            with answers_up_to(TAILS_BYTES):
                answer = await self.host.run(commands.tails_command(directory, paths), label="read stderr of jobs")
            return [readable(tail) for tail in answers.parse_tails(answer.stdout)]
        except (SiteError, ValueError) as error:
            log.warning("%s: the stderr of jobs could not be read: %s", self.host.title, error)
            return []

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Repeat a question until it is answered.

        :raises SiteError: it is not retryable, or there has been no answer for ``max_unreachable``.
        """
        backoff, outage = Backoff(1.0, 30.0), Outage()
        while True:
            try:
                return await ask()
            except SiteError as error:
                if not error.retryable:
                    raise
                if outage.is_too_long:
                    raise given_up(error, outage.since) from None
                log.warning("%s: asking again in %g s: %s", self.host.title, backoff.next_s, error)
            await backoff.pause()
