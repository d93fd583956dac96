# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The lives of pods on the one node. PodSpec semantics are podman's own (``podman kube play``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from pathlib import Path

from ..objects import JOB_NAME, ApiError, Key, KubeObject, containers_of, ended, is_going, now
from ..storage import Store
from . import podman
from .manifests import Manifests
from .podman import Inspected
from .scheduler import Scheduler
from .statuses import Container, Problem, Report, exit_code, waiting

PLAYS = 3
"""pods that podman starts at a time"""


class Kubelet:
    """Runs the pods.

    :param root: folder for volumes.
    """

    def __init__(self, store: Store, scheduler: Scheduler, root: Path) -> None:
        self._store, self._scheduler = store, scheduler
        self._manifests = Manifests(store, root)
        self._plays = asyncio.Semaphore(PLAYS)
        self._deaths: dict[Key, asyncio.Event] = {}
        self._over_memory: set[str] = set()

    async def follow(self) -> None:
        """Wake the pods whose containers ended, without an end: nothing is asked for again and again."""
        async for container in podman.deaths():
            for key, wake in list(self._deaths.items()):
                if container.startswith(podman.container_name(key, "")):
                    wake.set()

    async def run(self, key: Key) -> None:
        """The life of one pod."""
        if not await self._scheduler.place(key):
            return
        self._deaths[key] = asyncio.Event()
        try:
            await self._live(key, self._store.objects[key])
        finally:
            self._deaths.pop(key, None)
            self._scheduler.wake.set()

    async def kill(self, key: Key, grace_s: int) -> None:
        """End a pod that is deleted, and forget it."""
        await podman.remove_pod(key, grace_s)
        pod = self._store.objects.get(key)
        if pod is not None:
            shutil.rmtree(self._manifests.volumes(pod), ignore_errors=True)
        self._store.remove(key)
        if key in self._deaths:
            self._deaths[key].set()
        self._scheduler.wake.set()

    async def evict(self, key: Key, message: str) -> None:
        """End a pod that the node will not have any more: the object stays, Failed."""
        pod = self._store.get(key)
        if ended(pod):
            return
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        pod["status"]["conditions"] = [{**condition, "message": message, "lastTransitionTime": now()}]
        pod["status"]["phase"] = "Failed"
        self._report(key, Report("Failed", [], Problem("Evicted", message)))
        await podman.remove_pod(key)

    async def _live(self, key: Key, pod: KubeObject) -> None:
        self._report(key, Report("Pending", waiting(pod, Problem("ContainerCreating"))))
        if not await self._can_be_made(key, pod):
            return
        network = JOB_NAME not in pod["metadata"].get("labels", {})
        async with self._plays:
            if self._is_gone(key, pod):
                return
            played = await podman.play(self._manifests.of(key, pod), network=network)
        if self._is_gone(key, pod):
            await podman.remove_pod(key)
            return
        if played.code:
            problem = Problem("StartError", played.err.strip()[-400:])
            self._report(key, Report("Failed", waiting(pod, problem), problem))
            return
        ip = await podman.address(key) if network else None
        await self._watch(key, pod, ip)

    def _is_gone(self, key: Key, pod: KubeObject) -> bool:
        """Whether the pod is deleted, or there is another one of its name."""
        there = self._store.objects.get(key)
        return there is None or there["metadata"]["uid"] != pod["metadata"]["uid"] or is_going(pod)

    async def _can_be_made(self, key: Key, pod: KubeObject) -> bool:
        """Wait until nothing is in the way: what a user may yet mend is tried again. False: the pod is gone."""
        tries = 0
        while not self._is_gone(key, pod):
            problem = await self._problem(key, pod, tries)
            if problem is None:
                return True
            self._report(key, Report("Pending", waiting(pod, problem)))
            tries += 1
            await asyncio.sleep(1)
        return False

    async def _problem(self, key: Key, pod: KubeObject, tries: int) -> Problem | None:
        """Why the containers cannot be made yet."""
        for container in containers_of(pod):
            if not await podman.has_image(container["image"]):
                return _without_image(container, tries)
        try:
            self._manifests.of(key, pod)
        except ApiError as error:
            return Problem("CreateContainerConfigError", error.message)
        return None

    async def _watch(self, key: Key, pod: KubeObject, ip: str | None) -> None:
        """Report what becomes of the containers, until they have all ended."""
        while not self._is_gone(key, pod) and not ended(pod):
            self._deaths[key].clear()
            containers = await self._containers(key, pod)
            if self._is_gone(key, pod) or ended(pod):
                return
            statuses = [container.status(self._over_memory) for container in containers]
            codes = [exit_code(status) for status in statuses]
            if None not in codes:
                self._report(key, Report("Failed" if any(codes) else "Succeeded", statuses))
                return
            self._report(key, Report("Running", statuses, ip=ip))
            await self._until_one_ends(key, containers)

    async def _containers(self, key: Key, pod: KubeObject) -> list[Container]:
        return [
            Container(spec, await podman.inspect(podman.container_name(key, spec["name"])))
            for spec in pod["spec"]["containers"]
        ]

    async def _until_one_ends(self, key: Key, containers: list[Container]) -> None:
        """Wait for the end of a container, for some seconds at most, and end those that are over their memory."""
        limited = [c.inspected for c in containers if c.inspected and c.has_memory_limit]
        for _ in range(15 if limited else 1):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._deaths[key].wait(), 0.3 if limited else 5)
            if self._deaths[key].is_set():
                return
            for inspected in limited:
                await self._enforce_memory(inspected)

    async def _enforce_memory(self, inspected: Inspected) -> None:
        """End a container when one of its processes was killed for memory: as kubelets do (memory.oom.group)."""
        group = inspected["State"].get("CgroupPath") or ""
        if not group:
            return
        for path in (f"/sys/fs/cgroup/memory{group}/memory.oom_control", f"/sys/fs/cgroup{group}/memory.events"):
            with contextlib.suppress(OSError):  # only one of the two is there, while the container is
                kills = re.search(r"^oom_kill (\d+)", Path(path).read_text(), re.MULTILINE)
                if kills and int(kills[1]):
                    self._over_memory.add(inspected["Id"])
                    await podman.podman("kill", "-s", "KILL", inspected["Id"])

    def _report(self, key: Key, report: Report) -> None:
        pod = self._store.objects.get(key)
        if pod is None:
            return
        status = pod.setdefault("status", {})
        before = json.dumps(status, sort_keys=True)
        report.write(status)
        if json.dumps(status, sort_keys=True) != before:
            self._store.put(key, pod, "MODIFIED")


def _without_image(container: KubeObject, tries: int) -> Problem:
    image = container["image"]
    if container.get("imagePullPolicy") == "Never":
        return Problem("ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never')
    failure = f'failed to pull and unpack image "{image}": not found'
    if tries % 4 == 0:
        return Problem("ErrImagePull", failure)
    return Problem("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {failure}')
