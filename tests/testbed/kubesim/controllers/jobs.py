# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The controller of Jobs.

After https://kubernetes.io/docs/concepts/workloads/controllers/job/ (Indexed Jobs, backoff limits, TTL).
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Iterator, Mapping

from ..cluster import Cluster, Deletion
from ..defaults import NO_LIMIT
from ..objects import ApiError, Key, KubeObject, ended, is_going, is_ready, now
from .controller import Controller
from .job_rules import End, failure_action, give_index, index_of, intervals, is_indexed

Index = int | None
"""of a completion; None in a Job that is not Indexed"""
Pods = Mapping[Key, KubeObject]
LONGEST_PAUSE_S = 360.0
"""before a failed pod is replaced"""


class JobController(Controller):
    """The life of one Job: pods, one per index (or per completion), until it is complete or has failed.

    :param backoff_s: until a failed pod is replaced first.
    """

    def __init__(self, cluster: Cluster, key: Key, backoff_s: float) -> None:
        super().__init__(cluster, key)
        self._backoff_s = backoff_s
        self._counted: set[str] = set()  # uids of pods that are over
        self._succeeded = self._failed = 0
        self._done: set[Index] = set()
        self._lost: set[Index] = set()  # those that have failed too often
        self._failures: dict[Index, int] = {}
        self._not_before_s: dict[Index, float] = {}
        self._refusals = 0
        self._refused_until_s = 0.0
        self._started_s: float | None = None

    async def look(self, value: KubeObject) -> bool:
        """Count, create, and see whether the Job has come to its end."""
        end = self._step(value)
        if end is None:
            return False
        await self._finish(value, end)
        return True

    def _step(self, job: KubeObject) -> End | None:
        pods = self.pods(job)
        if job["spec"].get("suspend"):
            self._delete_all(pods)
            self._write(job, pods)
            return None
        now_s = asyncio.get_running_loop().time()
        self._started_s = self._started_s or now_s
        for key, pod in pods.items():
            if self._is_over(job, pod):
                self._counted.add(pod["metadata"]["uid"])
                end = self._count(job, key, pod, now_s)
                if end is not None:
                    return end
        self._write(job, pods)
        end = self._end(job["spec"], now_s - self._started_s) or self._completion(job)
        if end is None and now_s >= self._refused_until_s:
            self._create(job, pods, now_s)
        return end

    # --- counting

    def _is_over(self, job: KubeObject, pod: KubeObject) -> bool:
        """Whether a pod is to be counted now: it has ended, or goes (which may not be enough)."""
        if pod["metadata"]["uid"] in self._counted:
            return False
        return ended(pod) or (is_going(pod) and job["spec"].get("podReplacementPolicy") != "Failed")

    def _count(self, job: KubeObject, key: Key, pod: KubeObject, now_s: float) -> End | None:
        """Count a pod that is over; the end of the Job where its failure policy says so."""
        index = index_of(pod)
        if pod["status"].get("phase") == "Succeeded":
            self._succeeded += 1
            self._done.add(index)
            return None
        action = failure_action(job, pod)
        if action == "FailJob":
            why = f"Container main for pod {key.namespace}/{key.name} failed matching a FailJob rule"
            return End("Failed", "PodFailurePolicy", why)
        if action == "Ignore":
            return None
        self._failed += 1
        failures = self._failures.get(index, 0) + 1
        self._failures[index] = failures
        self._not_before_s[index] = now_s + min(LONGEST_PAUSE_S, self._backoff_s * 2 ** (failures - 1))
        if action == "FailIndex" or failures > job["spec"].get("backoffLimitPerIndex", NO_LIMIT):
            self._lost.add(index)
        return None

    def _end(self, spec: KubeObject, active_s: float) -> End | None:
        """How the Job fails, if it does."""
        if spec.get("activeDeadlineSeconds") and active_s > spec["activeDeadlineSeconds"]:
            return End("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        if "backoffLimitPerIndex" not in spec and self._failed > spec.get("backoffLimit", 6):
            return End("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if len(self._lost) > spec.get("maxFailedIndexes", NO_LIMIT):
            why = "Job has exceeded the specified maximal number of failed indexes"
            return End("Failed", "MaxFailedIndexesExceeded", why)
        return None

    def _completion(self, job: KubeObject) -> End | None:
        """How the Job ends where all its completions are over."""
        over = len(self._done | self._lost) if is_indexed(job) else self._succeeded
        if over < job["spec"].get("completions", 1):
            return None
        if is_indexed(job) and self._lost:
            return End("Failed", "FailedIndexes", "Job has failed indexes")
        return End("Complete", "CompletionsReached", "Reached expected number of succeeded pods")

    # --- pods

    def _create(self, job: KubeObject, pods: Pods, now_s: float) -> None:
        active = self._active(pods)
        room = job["spec"].get("parallelism", 1) - len(active)
        for index in itertools.islice(self._wanted(job, active, now_s), max(0, room)):
            try:
                self._begin(job, index)
                self._refusals = 0
            except ApiError as error:
                self._refusals += 1
                self._refused_until_s = now_s + min(30, 0.5 * 2**self._refusals)
                self.cluster.warn(job, "FailedCreate", f"Error creating: {error.message}")
                return

    def _active(self, pods: Pods) -> list[KubeObject]:
        return [pod for pod in pods.values() if not ended(pod) and pod["metadata"]["uid"] not in self._counted]

    def _wanted(self, job: KubeObject, active: list[KubeObject], now_s: float) -> Iterator[Index]:
        """Completions that lack a pod and may have one now."""
        spec = job["spec"]
        if is_indexed(job):
            not_wanted = self._done | self._lost | {index_of(pod) for pod in active}
            candidates: list[Index] = [index for index in range(spec["completions"]) if index not in not_wanted]
        else:
            candidates = [None] * (spec.get("completions", 1) - self._succeeded - len(active))
        return (index for index in candidates if self._not_before_s.get(index, 0) <= now_s)

    def _begin(self, job: KubeObject, index: Index) -> None:
        template = copy.deepcopy(job["spec"]["template"])
        template.setdefault("metadata", {})["finalizers"] = ["batch.kubernetes.io/job-tracking"]
        prefix = f"{self.key.name}-"
        if index is not None:
            give_index(template, self.key.name, index)
            prefix += f"{index}-"
        self.create_pod(template, job, prefix)

    def _delete_all(self, pods: Pods) -> None:
        for key, pod in pods.items():
            if not ended(pod):
                self.cluster.delete(key, Deletion())

    # --- status and end

    def _write(self, job: KubeObject, pods: Pods, end: End | None = None) -> None:
        active = self._active(pods)
        counts = {"active": len(active), "succeeded": self._succeeded, "failed": self._failed}
        status: KubeObject = {
            **{name: count for name, count in counts.items() if count},
            "ready": sum(is_ready(pod) for pod in active),
            "terminating": sum(is_going(pod) for pod in pods.values()),
            "uncountedTerminatedPods": {},
        }
        if not job["spec"].get("suspend"):
            status["startTime"] = job["status"].get("startTime", now())
        if is_indexed(job) and self._done:
            status["completedIndexes"] = intervals(index for index in self._done if index is not None)
        if is_indexed(job) and "backoffLimitPerIndex" in job["spec"]:
            status["failedIndexes"] = intervals(index for index in self._lost if index is not None)
        if end is not None:
            end.write(status)
        self.write(job, status)

    async def _finish(self, job: KubeObject, end: End) -> None:
        self._delete_all(self.pods(job))
        self._write(job, {}, end)
        self.cluster.event(job, "Normal" if end.condition == "Complete" else "Warning", end.reason, end.message)
        ttl_s = job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is None:
            return
        await asyncio.sleep(ttl_s)
        there = self.value
        if there is not None and there["metadata"]["uid"] == job["metadata"]["uid"]:
            self.cluster.delete(self.key, Deletion(propagation="Background"))
