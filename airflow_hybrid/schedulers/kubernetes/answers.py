# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Jobs, pods and events of the API say about a batch, in Kubernetes' own words. Pure.

Sources: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and /disruptions/#pod-disruption-conditions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.base import ElementState
from airflow_hybrid.schedulers.kubernetes.manifest import GAVE_UP

Object = Mapping[str, Any]
JOB_NAME = "batch.kubernetes.io/job-name"
INDEX = "batch.kubernetes.io/job-completion-index"

NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""reasons of a waiting container that do not pass"""
MAYBE_NEVER = frozenset({"ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError",
                         "RegistryUnavailable", "ErrImageInspect", "ImageInspectError"})  # fmt: skip
"""reasons that may pass (somebody fixes it, a registry comes back): waited for, but not forever"""
_POD_REASONS = {
    "Evicted": JobState.PREEMPTED,
    "Preempting": JobState.PREEMPTED,
    "NodeLost": JobState.NODE_FAIL,
    "NodeShutdown": JobState.NODE_FAIL,
    "Terminated": JobState.NODE_FAIL,
    "Shutdown": JobState.NODE_FAIL,
    "DeadlineExceeded": JobState.TIMEOUT,
    "OutOfmemory": JobState.FAILED,
    "OutOfcpu": JobState.FAILED,
}
_DISRUPTIONS = {
    "PreemptionByScheduler": JobState.PREEMPTED,
    "EvictionByEvictionAPI": JobState.PREEMPTED,
    "TerminationByKubelet": JobState.PREEMPTED,
    "DeletionByTaintManager": JobState.NODE_FAIL,
    "DeletionByPodGC": JobState.NODE_FAIL,
}


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def job_of(pod: Object) -> str:
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(JOB_NAME) or labels.get("job-name") or "")


def index_of(pod: Object) -> int:
    metadata = pod["metadata"]
    text = (metadata.get("annotations") or {}).get(INDEX) or (metadata.get("labels") or {}).get(INDEX) or "0"
    return int(text)


def condition(obj: Object, kind: str) -> Object | None:
    """The object's condition of this type, if it is True."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry.get("type") == kind and entry.get("status") == "True":
            return dict(entry)
    return None


def gave_up(job: Object) -> str:
    """Why we gave up a Job, or ``""``."""
    return str((job["metadata"].get("annotations") or {}).get(GAVE_UP) or "")


def ended(job: Object) -> bool:
    """Whether no more pods of the Job will run."""
    done = condition(job, "Complete") or condition(job, "Failed")
    return bool(done or gave_up(job) or job["metadata"].get("deletionTimestamp"))


def counts(job: Object) -> tuple[int, int]:
    """Running pods, and pods that are not running yet (created or not)."""
    status, spec = job.get("status") or {}, job.get("spec") or {}
    running = int(status.get("ready") or 0)
    finished = int(status.get("succeeded") or 0) + int(status.get("failed") or 0)
    return running, max(0, int(spec.get("completions") or 1) - finished - running)


def stuck(job: Object) -> bool:
    """Whether fewer pods are running than the Job's own settings allow."""
    status, spec = job.get("status") or {}, job.get("spec") or {}
    running, pending = counts(job)
    return running < min(running + pending, int(spec.get("parallelism") or 1)) or not status


def waiting(pod: Object) -> tuple[str, str]:
    """Why a pending pod does not run: reason and message in the cluster's words; empty if there are none."""
    status = pod.get("status") or {}
    for entry in status.get("conditions") or ():
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return str(entry.get("reason") or "Unschedulable"), str(entry.get("message") or "")
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            why = (container.get("state") or {}).get("waiting") or {}
            if why.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
                return str(why["reason"]), str(why.get("message") or "")
    return "", ""


def with_message(reason: str, message: str) -> str:
    return f"{reason}: {message}".strip(": ") if message else reason


def of_pod(pod: Object) -> ElementState:
    """The state of one pod, or how it ended."""
    phase = (pod.get("status") or {}).get("phase")
    terminated = _terminated(pod)
    if any(end.get("reason") == "OOMKilled" for end in terminated):
        return ElementState(JobState.OUT_OF_MEMORY, _where("OOMKilled: it used more memory than its limit", pod))
    if phase == "Succeeded":
        return ElementState(JobState.COMPLETED)
    if phase == "Failed":
        return _of_failed(pod, terminated)
    state = JobState.RUNNING if phase == "Running" else JobState.PENDING
    return ElementState(state, with_message(*waiting(pod)))


def _terminated(pod: Object) -> list[Object]:
    """The ends of the pod's containers, each with the container's name."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ends = [(container.get("name"), (container.get("state") or {}).get("terminated")) for container in containers]
    return [{**end, "name": name} for name, end in ends if end]


def _of_failed(pod: Object, terminated: Sequence[Object]) -> ElementState:
    """Why a pod failed. What the cluster did to the pod takes precedence over how its containers ended."""
    status = pod.get("status") or {}
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason in _POD_REASONS:
        return ElementState(_POD_REASONS[reason], _where(with_message(reason, message), pod))
    disruption = condition(pod, "DisruptionTarget")
    if disruption is not None:
        why = str(disruption.get("reason") or "")
        text = with_message(why, str(disruption.get("message") or ""))
        return ElementState(_DISRUPTIONS.get(why, JobState.PREEMPTED), _where(text, pod))
    if reason or not terminated:
        text = with_message(reason or "Failed", message or with_message(*waiting(pod)))
        return ElementState(JobState.FAILED, _where(text, pod))
    with_a_code = [end for end in terminated if end.get("exitCode")]
    end = with_a_code[0] if with_a_code else terminated[0]
    text = f"{end.get('reason') or 'Error'}: container {end['name']} ended with exit code {end.get('exitCode')}"
    return ElementState(JobState.FAILED, _where(f"{text} {end.get('message') or ''}".rstrip(), pod))


def _where(text: str, pod: Object) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    return f"{text} (pod {name_of(pod)}{f' on {node}' if node else ''})"


def elements(job: Object | None, name: str, pods: Sequence[Object]) -> dict[str, ElementState]:
    """Element id (``<job>_<index>``) -> state; the Job's own name -> state of indexes without a pod.

    A disrupted pod is replaced while the Job exists, so its index is pending, not ended.
    """
    is_over = job is None or ended(job)
    states = {f"{name}_{index}": _of_latest(pod, is_over) for index, pod in _latest(pods).items()}
    if job is None:
        return states
    why = gave_up(job)
    if why:
        given_up = ElementState(JobState.FAILED, why)
        return {name: given_up, **_unless_ended(states, given_up)}
    failure = condition(job, "Failed")
    if failure is not None:
        text = with_message(str(failure.get("reason") or ""), str(failure.get("message") or ""))
        if failure.get("reason") == "DeadlineExceeded":
            late = ElementState(JobState.TIMEOUT, text)
            return {**_unless_ended(states, late), name: late}
        states[name] = ElementState(JobState.FAILED, text)
    elif condition(job, "Complete") is None and not job["metadata"].get("deletionTimestamp"):
        states[name] = ElementState(JobState.PENDING)
    return states


def _latest(pods: Sequence[Object]) -> dict[int, Object]:
    """The latest pod of each index."""
    latest: dict[int, Object] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or "")):
        latest[index_of(pod)] = pod
    return latest


def _of_latest(pod: Object, is_over: bool) -> ElementState:
    """The state of an index, from its latest pod.

    :param is_over: no other pod will follow.
    """
    element = of_pod(pod)
    if element.state.ended and not is_over and condition(pod, "DisruptionTarget"):
        return ElementState(JobState.PENDING, f"restarted by Kubernetes: {element.reason}")
    if not element.state.ended and is_over and pod["metadata"].get("deletionTimestamp"):
        return ElementState(JobState.UNKNOWN, "its pod is being deleted")
    return element


def _unless_ended(states: Mapping[str, ElementState], other: ElementState) -> dict[str, ElementState]:
    """The states of elements that have ended; ``other`` for all others."""
    return {id_: element if element.state.ended else other for id_, element in states.items()}
