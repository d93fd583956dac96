# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the API server adds to a new object."""

from __future__ import annotations

import base64
import uuid

from .objects import CLAIMS, JOB_NAME, JOBS, NAMESPACES, PODS, SECRETS, Key, KubeObject, now

NO_LIMIT = 2**31 - 1


def identify(key: Key, value: KubeObject) -> None:
    """Give an object what tells it from one of the same name before it."""
    value["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=now())
    if key.namespace:
        value["metadata"]["namespace"] = key.namespace


def complete(key: Key, value: KubeObject) -> None:
    """Add the defaults of its kind, and its first status."""
    addition = _ADDITIONS.get(key.kind)
    if addition is not None:
        addition(value)


def _namespace(value: KubeObject) -> None:
    value["status"] = {"phase": "Active"}


def _claim(value: KubeObject) -> None:
    value["status"] = {"phase": "Bound"}


def _secret(value: KubeObject) -> None:
    texts = value.pop("stringData", {})
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    value.setdefault("data", {}).update(encoded)
    value.setdefault("type", "Opaque")


def _pod(value: KubeObject) -> None:
    value["status"] = {"phase": "Pending"}
    spec = value["spec"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    for container in spec["containers"]:
        container.setdefault("imagePullPolicy", "IfNotPresent")


def _job(value: KubeObject) -> None:
    value.setdefault("status", {})
    spec, meta = value["spec"], value["metadata"]
    spec.setdefault("backoffLimit", NO_LIMIT if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    owner = {"batch.kubernetes.io/controller-uid": meta["uid"]}
    labels = {"job-name": meta["name"], JOB_NAME: meta["name"], "controller-uid": meta["uid"], **owner}
    spec["template"].setdefault("metadata", {}).setdefault("labels", {}).update(labels)
    spec.setdefault("selector", {"matchLabels": owner})


_ADDITIONS = {NAMESPACES: _namespace, CLAIMS: _claim, SECRETS: _secret, PODS: _pod, JOBS: _job}
