# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches as Indexed Jobs: the same queue as for any scheduler, with questions that the API answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.schedulers.kubernetes import manifest
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.sites.batches.commands import Prepared
from airflow_hybrid.sites.batches.directory import Batch
from airflow_hybrid.sites.batches.poller import Progress
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.dialogue import DialogueHost
from airflow_hybrid.sites.kubernetes.jobs import GIVE_UP_S, Jobs, as_text

log = logging.getLogger(__name__)

MOST_INDEXES = 100_000
"""limit for one Indexed Job (the API's own, with backoffLimitPerIndex)"""


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
        submission = prepared.submission
        # when the storage asks for a Job by name, it is taken from here: jobs can write to the storage's files
        job = manifest.job(submission)
        self._manifests[job["metadata"]["name"]] = (job, float(submission.options.get("startTimeout") or GIVE_UP_S))
        return prepared

    async def _answer(self, question: Sequence[str]) -> tuple[int, str]:
        kind, names = question[0], list(question[1:])
        if kind == "create":
            if names[0] not in self._manifests:
                return 1, f"no Job {names[0]} was requested"
            job, patience_s = self._manifests[names[0]]
            return await self.jobs.create(job, patience_s)
        if kind == "find":
            return 0, names[0] if await self.jobs.find(names[0]) else ""
        if kind == "cancel":
            for name in names:
                await self.jobs.delete(name)
            return 0, ""
        if kind == "status":
            return 0, json.dumps(await self.jobs.status(names))
        if kind == "account":
            return 0, as_text(await self.jobs.account(names))
        return 2, f"no such question: {kind}"

    async def wait(self, directory: str, progress: Callable[[Progress], None] | None = None) -> list[JobResult]:
        results = await super().wait(directory, progress)
        await self._tidy(results)
        return results

    async def _tidy(self, results: Sequence[JobResult]) -> None:
        """Delete the Jobs of a batch that succeeded. Pods of failed ones are kept for inspection until their TTL."""
        well = all(result.state is JobState.COMPLETED for result in results)
        for name in {(result.scheduler_id or "").partition("_")[0] for result in results} - {""}:
            self._manifests.pop(name, None)
            if not well and not self.jobs.given_up(name):  # one that was given up has no pods, and no time to live
                continue
            try:
                await self.jobs.delete(name)
            except SiteError as error:
                log.info("%s: Job %s remains until its TTL: %s", self.host.title, name, error)
