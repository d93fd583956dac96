# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of upstream's Job controller: failures, indexes, and the status of a Job.

After https://kubernetes.io/docs/concepts/workloads/controllers/job/ (Indexed Jobs, pod failure policies).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..node.statuses import exit_code
from ..objects import KubeObject, now

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class End:
    """How a Job ends.

    :ivar reason: one word.
    """

    condition: Literal["Complete", "Failed"]
    reason: str
    message: str

    def write(self, status: KubeObject) -> None:
        """Put it into the status of the Job."""
        first = "SuccessCriteriaMet" if self.condition == "Complete" else "FailureTarget"
        at = {"lastProbeTime": now(), "lastTransitionTime": now(), "status": "True"}
        said = {"reason": self.reason, "message": self.message, **at}
        status["conditions"] = [{"type": type_, **said} for type_ in (first, self.condition)]
        if self.condition == "Complete":
            status["completionTime"] = now()


def is_indexed(job: KubeObject) -> bool:
    """Whether each completion of a Job has an index."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def index_of(pod: KubeObject) -> int | None:
    """Which completion a pod is for, in an Indexed Job."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return None if text is None else int(text)


def give_index(template: KubeObject, job_name: str, index: int) -> None:
    """Tell a pod which completion it is for."""
    meta, spec = template["metadata"], template["spec"]
    meta.setdefault("annotations", {})[INDEX] = str(index)
    meta.setdefault("labels", {})[INDEX] = str(index)
    spec.setdefault("hostname", f"{job_name}-{index}")
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in spec["containers"] + spec.get("initContainers", []):
        container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})


def failure_action(job: KubeObject, pod: KubeObject) -> str:
    """The action of the first rule of the pod failure policy that matches: Count where none does."""
    for rule in (job["spec"].get("podFailurePolicy") or {}).get("rules", []):
        by_code = "onExitCodes" in rule and _has_exit_code(rule["onExitCodes"], pod)
        if by_code or _has_condition(rule.get("onPodConditions", []), pod):
            return str(rule["action"])
    return "Count"


def _has_exit_code(wanted: KubeObject, pod: KubeObject) -> bool:
    is_in = wanted["operator"] == "In"
    for container in pod["status"].get("containerStatuses", []):
        code = exit_code(container)
        is_meant = wanted.get("containerName", container["name"]) == container["name"]
        if is_meant and code and (code in wanted["values"]) == is_in:
            return True
    return False


def _has_condition(wanted: Iterable[KubeObject], pod: KubeObject) -> bool:
    has = {(condition["type"], condition["status"]) for condition in pod["status"].get("conditions", [])}
    return any((condition["type"], condition.get("status", "True")) in has for condition in wanted)


def intervals(indexes: Iterable[int]) -> str:
    """0,1,2,5 -> "0-2,5"."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(_interval(run) for run in runs)


def _interval(run: list[int]) -> str:
    if len(run) == 1:
        return str(run[0])
    return f"{run[0]}{'-' if len(run) > 2 else ','}{run[-1]}"
