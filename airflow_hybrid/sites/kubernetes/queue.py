# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches as Indexed Jobs: the queue of any scheduler, whose questions the API answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.schedulers.kubernetes import manifest
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.sites.batches.directory import Batch
from airflow_hybrid.sites.batches.poller import Progress
from airflow_hybrid.sites.batches.queue import JobQueue, Prepared
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.dialogue import DialogueHost
from airflow_hybrid.sites.kubernetes.jobs import GIVE_UP_S, Jobs, as_text

log = logging.getLogger(__name__)

MOST_INDEXES = 100_000
"""of one Indexed Job (the API's own limit with backoffLimitPerIndex)"""


class KubernetesQueue(JobQueue):
    """Batches on a storage whose jobs are pods.

    :param host: where the storage's files are.
    """

    makes_containers = True

    def __init__(self, host: Host, jobs: Jobs) -> None:
        super().__init__(DialogueHost(host, self._answer), KubernetesScheduler())
        self.jobs = jobs
        self._manifests: dict[str, tuple[dict[str, Any], float]] = {}

    async def _max_array(self, jobs: int | None) -> int:
        return MOST_INDEXES

    def _prepare(self, batch: Batch, max_array: int) -> Prepared:
        prepared = super()._prepare(batch, max_array)
        sub = prepared.submission
        # what the storage asks to be created is looked up here: its files are the jobs' to write
        made = manifest.job(sub)
        self._manifests[made["metadata"]["name"]] = (made, float(sub.options.get("startTimeout") or GIVE_UP_S))
        return prepared

    async def _answer(self, question: Sequence[str]) -> tuple[int, str]:
        what, names = question[0], list(question[1:])
        if what == "create":
            if names[0] not in self._manifests:
                return 1, f"no Job {names[0]} was asked for"
            made, patience_s = self._manifests[names[0]]
            return await self.jobs.create(made, patience_s)
        if what == "find":
            return 0, names[0] if await self.jobs.find(names[0]) else ""
        if what == "cancel":
            for name in names:
                await self.jobs.delete(name)
            return 0, ""
        if what == "status":
            return 0, json.dumps(await self.jobs.status(names))
        if what == "account":
            return 0, as_text(await self.jobs.account(names))
        return 2, f"no such question: {what}"

    async def wait(self, directory: str, progress: Callable[[Progress], None] | None = None) -> list[JobResult]:
        results = await super().wait(directory, progress)
        await self._tidy(results)
        return results

    async def _tidy(self, results: Sequence[JobResult]) -> None:
        """Delete the Jobs of a batch that went well; the pods of one that did not stay for a look, until their TTL."""
        well = all(result.state is JobState.COMPLETED for result in results)
        for name in {(result.scheduler_id or "").partition("_")[0] for result in results} - {""}:
            self._manifests.pop(name, None)
            if not well and not self.jobs.given_up(name):  # one that was given up has no pods, and no time to live
                continue
            try:
                await self.jobs.delete(name)
            except SiteError as error:
                log.info("%s: Job %s is left to its time to live: %s", self.host.title, name, error)
