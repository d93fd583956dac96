# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Manifests: the Indexed Job of a batch, and the pod through which a storage is reached. Pure.

Native options of a service are fields of a PodSpec or JobSpec by their own names; anything else of Kubernetes goes into
the service's template ``file``: a Pod, a PodTemplate or a Job in YAML, filled in as the templates of queues are.
"""

from __future__ import annotations

import copy
import hashlib
import re
import shlex
from collections.abc import Mapping
from typing import Any, cast

from airflow_hybrid import shell_text
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.schedulers.base import Submission, fill
from airflow_hybrid.schedulers.kubernetes.words import Words, literal
from airflow_hybrid.yaml_problems import placed_yaml_problem

MANAGED_BY = "app.kubernetes.io/managed-by"
US = "airflow-hybrid"
ROLE = "airflow-hybrid/role"
DIRECTORY = "airflow-hybrid/directory"
GAVE_UP = "airflow-hybrid/gave-up"
"""annotation of a Job that cannot start: the reason"""
SELECTOR = f"{MANAGED_BY}={US},{ROLE}=batch"

POD_FIELDS = ("nodeSelector", "tolerations", "affinity", "serviceAccountName", "imagePullSecrets", "securityContext",
              "priorityClassName", "runtimeClassName", "schedulerName", "automountServiceAccountToken")  # fmt: skip
CONTAINER_FIELDS = ("image", "imagePullPolicy", "env", "envFrom")
JOB_FIELDS = ("ttlSecondsAfterFinished", "activeDeadlineSeconds")
VOLUME = "airflow-hybrid"
GPU = "nvidia.com/gpu"
DEFAULT_IMAGE = "debian:12-slim"
DEFAULT_MOUNT = "/airflow_hybrid"
DEFAULT_TTL_S = 3600
MOST_PODS = 500
"""most pods of one Job at a time, if the service does not say"""

_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
          "Ti": 2**40, "Pi": 2**50}  # fmt: skip


def quantity(text: str | int | float) -> float:
    """A Kubernetes quantity as a number: ``500m`` -> 0.5, ``2Gi`` -> 2147483648.

    :raises ValueError: it is not a quantity.
    """
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)", str(text).strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"not a quantity: {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def job_name(submission: Submission) -> str:
    """A DNS label of at most 52 characters, from the batch directory and its storage (two may have the same path)."""
    storage = submission.options.get("storage") or {}
    text = f"{submission.name}|{storage.get('claim')}|{storage.get('subPath')}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    plain = re.sub(r"[^a-z0-9]+", "-", submission.name.rpartition("-")[0].lower()).strip("-")[:35].strip("-")
    return f"{plain or 'batch'}-{digest}"


def job(submission: Submission) -> dict[str, Any]:
    """The Indexed Job of a batch: one index per job, each of which runs the runner.

    An index whose pod fails is not restarted (exit codes of jobs are not those of pods). An index whose pod is evicted,
    preempted or lost with its node is, and the runner then restarts its unfinished jobs.

    :raises ConfigError: the template is not a manifest.
    """
    options = submission.options
    runner = ["/bin/sh", f"{submission.directory}/runner.sh"]
    template, own_command = _template(submission, runner)
    spec: dict[str, Any] = {key: value for key, value in template["spec"].items() if key != "template"}
    spec.update({key: options[key] for key in JOB_FIELDS if key in options})
    spec.setdefault("ttlSecondsAfterFinished", DEFAULT_TTL_S)
    spec.update(
        completionMode="Indexed",
        completions=submission.jobs,
        parallelism=min(submission.jobs, submission.max_concurrent or MOST_PODS),
        backoffLimitPerIndex=0,
        podFailurePolicy={
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        template=pod_template(template["spec"]["template"], options),
    )
    spec.pop("backoffLimit", None)
    spec["template"]["spec"]["restartPolicy"] = "Never"
    spec["template"]["spec"].setdefault("terminationGracePeriodSeconds", 5)
    container = main_container(spec["template"])
    if not own_command:
        container["command"] = [literal(word) for word in runner]
        container.pop("args", None)
    _resources(container, submission)
    labels = {MANAGED_BY: US, ROLE: "batch"}
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **(options.get("labels") or {}), **labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), DIRECTORY: submission.directory}
    metadata["name"] = job_name(submission)
    spec["template"]["metadata"]["labels"].update(labels)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def pod_template(base: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A pod template with a service's options in it, and the storage mounted."""
    template = copy.deepcopy(dict(base))
    metadata = template["metadata"] = dict(template.get("metadata") or {})
    for field in ("labels", "annotations"):
        metadata[field] = {**(metadata.get(field) or {}), **(options.get(field) or {})}
    spec = template["spec"] = dict(template.get("spec") or {})
    spec.update({key: options[key] for key in POD_FIELDS if key in options})
    if not spec.get("containers"):
        spec["containers"] = [{"name": "main"}]
    container = main_container(template, options.get("container"))
    container.update({key: options[key] for key in CONTAINER_FIELDS if key in options})
    for kind, values in (options.get("resources") or {}).items():
        container.setdefault("resources", {}).setdefault(kind, {}).update({k: str(v) for k, v in values.items()})
    storage = options.get("storage") or {}
    container.setdefault("image", storage.get("image") or DEFAULT_IMAGE)
    if storage.get("claim"):
        volume = {"name": VOLUME, "persistentVolumeClaim": {"claimName": storage["claim"]}}
        spec["volumes"] = [v for v in spec.get("volumes") or [] if v.get("name") != VOLUME] + [volume]
        mount = {"name": VOLUME, "mountPath": storage.get("mountPath") or DEFAULT_MOUNT}
        if storage.get("subPath"):
            mount["subPath"] = storage["subPath"]
        container["volumeMounts"] = [m for m in container.get("volumeMounts") or [] if m.get("name") != VOLUME] + [
            mount
        ]
    return template


def main_container(template: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """The container that runs the jobs: the one of that name, or ``main``, or the first."""
    containers: list[dict[str, Any]] = template["spec"]["containers"]
    for candidate in (name, "main"):
        for container in containers:
            if candidate and container.get("name") == candidate:
                return container
    return containers[0]


def _resources(container: dict[str, Any], submission: Submission) -> None:
    """Set the CWL document's requests, unless the options or the template set them.

    Memory is a limit, too: a job that needs more is OOMKilled and does not affect others.
    """
    needs = submission.resources
    resources = container.setdefault("resources", {})
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    if "cores" in needs.explicit and "cpu" not in requests and "cpu" not in limits:
        requests["cpu"] = f"{max(1, round(needs.all_cores * 1000))}m"
    if "ram_mib" in needs.explicit and "memory" not in requests and "memory" not in limits:
        requests["memory"] = limits["memory"] = f"{needs.ram_mib}Mi"
    if needs.gpus and not any("gpu" in name for name in (*requests, *limits)):
        limits[GPU] = str(needs.gpus)
    resources.update({k: v for k, v in (("requests", requests), ("limits", limits)) if v})
    if not resources:
        del container["resources"]


def _template(submission: Submission, runner: list[str]) -> tuple[dict[str, Any], bool]:
    """The service's template as a Job, and whether it runs the jobs' command itself."""
    if submission.template is None:
        return {"spec": {"template": {}}}, False
    command = shlex.join(runner)
    words = Words((command, submission.environment, submission.directory))
    text = fill(submission, submission.template, command, words.stand_in, part=0)
    return as_job(text, words), bool(re.search(r"\b(streamflow|hybrid)_command\b", submission.template))


def as_job(text: str, words: Words) -> dict[str, Any]:
    """A manifest's text as a Job: a Job as it is, a Pod or PodTemplate as the template of a Job.

    :param words: the words in the text that stand for values.

    :raises ConfigError: it is none of these.
    """
    import yaml

    try:
        documents = [d for d in yaml.safe_load_all(text) if d is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"the template of the service is not valid YAML: {placed_yaml_problem(error)}") from None
    kind = documents[0].get("kind", "Pod") if len(documents) == 1 and isinstance(documents[0], dict) else None
    if kind not in ("Job", "Pod", "PodTemplate"):
        raise ConfigError(
            "the template of the service is not one Kubernetes object of kind Pod, PodTemplate or Job",
            hint="a service's `file` holds one manifest",
        )
    manifest = cast("dict[str, Any]", words.in_manifest(documents[0]))
    if kind == "Job":
        spec = manifest.get("spec")
        if not isinstance(spec, dict) or not isinstance(spec.get("template"), dict):
            raise ConfigError("the Job of the service's template has no spec.template")
        return {"metadata": manifest.get("metadata") or {}, "spec": spec}
    pod = manifest.get("template") if kind == "PodTemplate" else manifest
    pod = pod if isinstance(pod, dict) else {}
    return {"spec": {"template": {k: pod[k] for k in ("metadata", "spec") if isinstance(pod.get(k), dict)}}}


# --- the pod of a storage ---------------------------------------------------------------------------------------

ALIVE_DIRECTORY = "/run/airflow-hybrid"
ALIVE = f": >|{ALIVE_DIRECTORY}/alive;"
"""every command begins with it; if none has come for a while, the pod ends itself"""


def service_name(deployment: str, storage: Mapping[str, Any]) -> str:
    """Name of the Job of a storage's service pod: a function of its settings, so all processes share it."""
    import json

    text = json.dumps([deployment, storage], sort_keys=True, default=str)
    plain = re.sub(r"[^a-z0-9]+", "-", deployment.lower()).strip("-")[:30].strip("-")
    return f"hybrid-{plain or 'storage'}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def service_job(deployment: str, storage: Mapping[str, Any], idle_s: int) -> dict[str, Any]:
    """A Job of one small pod that mounts the storage and waits; Kubernetes recreates it when it is evicted.

    It ends when nobody has used it for ``idle_s``, and is removed a minute later.
    """
    name = service_name(deployment, storage)
    template = pod_template({}, {**storage, "storage": storage})
    spec, container = template["spec"], main_container(template)
    alive = f"{ALIVE_DIRECTORY}/alive"
    values = {"ALIVE": alive, "IDLE_S": str(idle_s), "IDLE_MIN": str(max(1, -(-idle_s // 60)))}
    idle = shell_text.filled(__package__, "idle.sh", values)
    container["command"] = ["/bin/sh", "-c", literal(idle)]
    container["volumeMounts"] = [*container.get("volumeMounts", []), {"name": "alive", "mountPath": ALIVE_DIRECTORY}]
    spec["volumes"] = [*spec.get("volumes", []), {"name": "alive", "emptyDir": {}}]
    spec.update(restartPolicy="Never", terminationGracePeriodSeconds=5)
    labels = {MANAGED_BY: US, ROLE: "storage"}
    template["metadata"]["labels"].update(labels)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"backoffLimit": 1000, "ttlSecondsAfterFinished": 60, "template": template},
    }
