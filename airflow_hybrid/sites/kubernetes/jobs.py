# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""All Jobs of this process in one namespace: one watch reports their states.

A *list* returns what exists, a *watch* what changes after that (resource versions, bookmarks). A watch that ends is
resumed where it stopped; if the server no longer has that version (410 Gone), it begins with a list again. While the
server does not answer, the states of Jobs are unknown. Pods are listed only while some of them do not start, all in one
request, and when a batch has to be judged.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.errors import HostUnreachableError, HybridError, SiteError, StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.base import ElementState
from airflow_hybrid.schedulers.kubernetes import answers, manifest
from airflow_hybrid.schedulers.kubernetes.scheduler import beyond_quota
from airflow_hybrid.sites.kubernetes.cluster import PAGE, ApiError, Cluster
from airflow_hybrid.sites.patience.backoff import Backoff

log = logging.getLogger(__name__)

WATCH_S = 300
"""how long a watch lasts until the server ends it; the next one begins where it stopped"""
FIRST_LIST_S = 30.0
IDLE_S = 60.0
"""how long a watch continues after the last question about it"""
LOOK_S = 10.0
"""pause between two lists of pods that do not start"""
STUCK_S = 2.0
"""how long pods may take to start before they are listed"""
GIVE_UP_S = 300.0
"""how long the pull of an image may fail before a Job is given up, if the service does not say"""
REASONS = 3
"""how many different reasons the progress of one Job shows"""


class Jobs:
    """The Jobs of one namespace. Belongs to one event loop.

    :ivar watches, lists: how many were begun, for measurements.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.watches = 0
        self.lists = 0
        self._jobs: dict[str, dict[str, Any]] = {}
        self._reasons: dict[str, tuple[str, ...]] = {}
        self._task: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._problem: HybridError | None = None
        self._version = ""
        self._asked_at = 0.0
        self._looked = 0.0
        self._stuck: dict[str, float] = {}
        self._patience: dict[str, float] = {}

    # --- what a batch needs ---------------------------------------------------------------------------------------

    async def create(self, job: Mapping[str, Any], patience_s: float = GIVE_UP_S) -> tuple[int, str]:
        """Create a Job, or find that it exists already.

        Its pod is tried first (a *dry run*): a refusal by admission would otherwise only appear in the Job's events.

        :returns: 0 and nothing, or 1 and the refusal in the cluster's words.
        :raises SiteError: the answer was lost, or the server cannot answer.
        """
        name, namespace = answers.name_of(job), await self._namespace()
        template = job["spec"]["template"]
        trial = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": f"{name}-trial"},
            "spec": template["spec"],
        }
        self._patience[name] = patience_s
        try:
            await self.cluster.call("CoreV1Api", "create_namespaced_pod", namespace, trial, dry_run="All")
        except ApiError as error:
            if error.retryable:
                raise
            if "exceeded quota" not in error.message or beyond_quota(error.message):
                return 1, error.message
            log.info("%s: pods of %s have to wait: %s", self.cluster.title, name, error.message)
        try:
            created = await self.cluster.call("BatchV1Api", "create_namespaced_job", namespace, job)
        except ApiError as error:
            if error.status == 409:
                return await self._attach(job)
            if error.retryable:
                raise
            return 1, error.message
        self._see(created)
        return 0, ""

    async def _attach(self, job: Mapping[str, Any]) -> tuple[int, str]:
        """Take over a Job that exists already. It is from an earlier call of ours, unless its directory is another."""
        existing = await self._read(answers.name_of(job))
        if existing is None:
            raise StatusUnknownError("the Job existed and is now gone", where=self.cluster.title)
        directories = [(obj["metadata"].get("annotations") or {}).get(manifest.DIRECTORY) for obj in (existing, job)]
        if directories[0] != directories[1]:
            return 1, f"a Job of this name belongs to {directories[0] or 'somebody else'}: not allowed"
        self._see(existing)
        return 0, ""

    def given_up(self, name: str) -> bool:
        """Whether we suspended the Job for good."""
        return name in self._jobs and bool(answers.gave_up(self._jobs[name]))

    async def find(self, name: str) -> bool:
        """Whether the Job exists."""
        job = await self._read(name)
        if job is not None:
            self._see(job)
        return job is not None

    async def delete(self, name: str) -> None:
        """Delete a Job and its pods. Nothing happens if it does not exist or is not ours."""
        job = self._jobs.get(name) or await self._read(name)
        if job is None or (job["metadata"].get("labels") or {}).get(manifest.MANAGED_BY) != manifest.US:
            return
        try:
            await self.cluster.call(
                "BatchV1Api", "delete_namespaced_job", name, await self._namespace(), propagation_policy="Background"
            )
        except ApiError as error:
            if error.status != 404:
                raise
        self._forget(name)

    async def status(self, names: Sequence[str]) -> dict[str, tuple[int, int, tuple[str, ...]]]:
        """Running and pending pods, and why those wait, of the Jobs that have not ended.

        :raises StatusUnknownError: the server has not answered.
        """
        self._asked_at = time.monotonic()
        if self._task is None or self._task.done():
            self._heard.clear()
            self._task = asyncio.ensure_future(self._follow())
        try:
            await asyncio.wait_for(self._heard.wait(), FIRST_LIST_S)
        except asyncio.TimeoutError:
            pass
        if self._problem is not None:
            if not self._problem.retryable:
                raise self._problem
            raise StatusUnknownError(self._problem.message, where=self.cluster.title)
        await self._look(names)
        return {
            name: (*answers.counts(self._jobs[name]), self._reasons.get(name, ()))
            for name in names
            if name in self._jobs and not answers.ended(self._jobs[name])
        }

    async def account(self, names: Sequence[str]) -> dict[str, ElementState]:
        """How the Jobs' elements ended, as far as the cluster still knows."""
        ends: dict[str, ElementState] = {}
        pods = await self._pods(f"{answers.JOB_NAME} in ({','.join(names)})")
        for name in names:
            job = await self._read(name)
            if job is not None:
                self._see(job)
            elif name not in {answers.job_of(pod) for pod in pods}:
                ends[name] = ElementState(JobState.LOST, "its Job no longer exists in the cluster")
                continue
            mine = [pod for pod in pods if answers.job_of(pod) == name]
            ends.update(answers.elements(job, name, mine))
        return ends

    # --- the watch ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """List, watch, and begin again, until nobody asks."""
        backoff = Backoff(1.0, 30.0)
        self._version = ""
        while time.monotonic() - self._asked_at < IDLE_S:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                backoff.reset()
                continue
            except ApiError as error:
                if error.status == 410 or error.reason in ("Expired", "Gone"):
                    log.info("%s: the watch is restarted: %s", self.cluster.title, error.message)
                    self._version = ""
                    continue
                problem: HybridError = error
            except HybridError as error:
                problem = error
            except Exception as error:  # a bug must reach the callers, not vanish in a task
                log.exception("%s: the watch failed", self.cluster.title)
                problem = HostUnreachableError(f"the watch failed: {error}", where=self.cluster.title)
            if self._problem is None:
                log.warning("%s: the state of Jobs is unknown: %s", self.cluster.title, problem)
            self._problem = problem
            self._heard.set()
            await backoff.pause()
        self._heard.clear()

    async def _list(self) -> None:
        self.lists += 1
        namespace, jobs = await self._namespace(), {}
        further: dict[str, Any] = {}
        while True:
            page = await self.cluster.call(
                "BatchV1Api", "list_namespaced_job", namespace, label_selector=manifest.SELECTOR, limit=PAGE,
                **further,
            )  # fmt: skip
            jobs.update({answers.name_of(job): job for job in page["items"]})
            if not (next_page := page["metadata"].get("continue")):
                break
            further = {"_continue": next_page}
        self._jobs, self._version = jobs, str(page["metadata"]["resourceVersion"])
        self._well()

    async def _watch(self) -> None:
        self.watches += 1
        events = self.cluster.watch(
            "BatchV1Api", "list_namespaced_job", await self._namespace(), idle_s=WATCH_S + 30.0,
            label_selector=manifest.SELECTOR, resource_version=self._version, allow_watch_bookmarks=True,
            timeout_seconds=WATCH_S,
        )  # fmt: skip
        async with events as stream:
            self._well()
            async for event in stream:
                job = event["object"]
                self._version = str(job["metadata"]["resourceVersion"])
                if event["type"] == "DELETED":
                    self._jobs.pop(answers.name_of(job), None)
                elif event["type"] in ("ADDED", "MODIFIED"):
                    self._jobs[answers.name_of(job)] = job
                if time.monotonic() - self._asked_at > IDLE_S:
                    return

    def _well(self) -> None:
        if self._problem is not None:
            log.info("%s: answers again", self.cluster.title)
        self._problem = None
        self._heard.set()

    def _see(self, job: dict[str, Any]) -> None:
        """Note a Job from a request's answer, unless the watch has a newer version."""
        name = answers.name_of(job)
        old = self._jobs.get(name)
        if old is None or int(old["metadata"]["resourceVersion"]) < int(job["metadata"]["resourceVersion"]):
            self._jobs[name] = job

    def _forget(self, name: str) -> None:
        for table in (self._jobs, self._reasons, self._stuck, self._patience):
            table.pop(name, None)

    # --- pods that do not start -----------------------------------------------------------------------------------

    async def _look(self, names: Sequence[str]) -> None:
        """If some pods have not started for a while, find out why; two requests for all of them."""
        now = time.monotonic()
        live = {name: self._jobs[name] for name in names if name in self._jobs and not answers.ended(self._jobs[name])}
        waiting = {name for name, job in live.items() if answers.stuck(job)}
        for name in list(self._stuck):
            if name in live and name not in waiting:
                self._stuck.pop(name, None), self._reasons.pop(name, None)
        since = [self._stuck.setdefault(name, now) for name in waiting]
        ripe = [at for at in since if now - at >= STUCK_S]
        if not ripe or now - self._looked < (STUCK_S if max(ripe) + STUCK_S > self._looked else LOOK_S):
            return
        self._looked = now
        try:
            pods = await self._pods(manifest.SELECTOR, field_selector="status.phase=Pending", pages=2)
            by_job: dict[str, list[dict[str, Any]]] = {}
            for pod in pods:
                by_job.setdefault(answers.job_of(pod), []).append(pod)
            silent = [name for name in waiting if name not in by_job]
            refused = await self._refusals() if silent else {}
            for name in waiting:
                await self._explain(name, by_job.get(name, []), refused.get(name, ""), now)
        except SiteError as error:
            log.info("%s: it is unknown why pods do not start: %s", self.cluster.title, error)

    async def _explain(self, name: str, pods: Sequence[Mapping[str, Any]], refused: str, now: float) -> None:
        why = [answers.waiting(pod) for pod in pods]
        texts = sorted({answers.with_message(*words) for words in why if words[0]} | ({refused} if refused else set()))
        self._reasons[name] = tuple(texts[:REASONS])
        hopeless = [words for words in why if words[0] in answers.NEVER]
        doubtful = [words for words in why if words[0] in answers.MAYBE_NEVER]
        patience_s = self._patience.get(name, GIVE_UP_S)
        # a pod that may still run would be ended with the others
        all_of_them = len(hopeless or doubtful) == len(pods) > 0 and not answers.counts(self._jobs[name])[0]
        if all_of_them and (hopeless or now - self._stuck[name] >= patience_s):
            await self._give_up(name, answers.with_message(*(hopeless or doubtful)[0]))

    async def _give_up(self, name: str, why: str) -> None:
        """Suspend a Job (its pods are deleted) and note the reason for later questions."""
        log.warning("%s: Job %s is given up: %s", self.cluster.title, name, why)
        change = {"metadata": {"annotations": {manifest.GAVE_UP: why}}, "spec": {"suspend": True}}
        self._see(await self.cluster.call("BatchV1Api", "patch_namespaced_job", name, await self._namespace(), change))

    async def _refusals(self) -> dict[str, str]:
        """Job -> why its pods could not even be created (a quota that is used up, an admission that changed)."""
        answer = await self.cluster.call(
            "CoreV1Api", "list_namespaced_event", await self._namespace(), limit=PAGE,
            field_selector="involvedObject.kind=Job,reason=FailedCreate",
        )  # fmt: skip
        latest = sorted(answer["items"], key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
        return {str(e["involvedObject"].get("name")): str(e.get("message")) for e in latest}

    # --- requests -------------------------------------------------------------------------------------------------

    async def _read(self, name: str) -> dict[str, Any] | None:
        try:
            job: dict[str, Any] = await self.cluster.call(
                "BatchV1Api", "read_namespaced_job", name, await self._namespace()
            )
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        return job

    async def _pods(self, selector: str, *, pages: int = 1000, **more: Any) -> list[dict[str, Any]]:
        pods: list[dict[str, Any]] = []
        further: dict[str, Any] = {}
        for _ in range(pages):
            page = await self.cluster.call(
                "CoreV1Api", "list_namespaced_pod", await self._namespace(), label_selector=selector, limit=PAGE,
                **more, **further,
            )  # fmt: skip
            pods.extend(page["items"])
            if not (next_page := page["metadata"].get("continue")):
                break
            further = {"_continue": next_page}
        return pods

    async def _namespace(self) -> str:
        await self.cluster.connect()
        return self.cluster.namespace

    async def close(self) -> None:
        """End the watch."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def as_text(elements: Mapping[str, ElementState]) -> str:
    """An account as the answer to a question; read by :class:`KubernetesScheduler`."""
    known_elements = {id_: e for id_, e in elements.items() if e.state is not JobState.UNKNOWN}
    return json.dumps({id_: [e.state.value, " ".join(e.reason.split())] for id_, e in known_elements.items()})
