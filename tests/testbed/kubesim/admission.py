# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is refused of a new object: its name, its schema, and what upstream says of it beyond that."""

from __future__ import annotations

import re
import secrets
import string

import kubernetes_validate

from .objects import JOBS, NAMESPACES, PODS, SERVICE_ACCOUNTS, ApiError, Key, Kind, KubeObject, is_going
from .quotas import over_quota
from .storage import Store

KUBERNETES = "1.33"
"""the version of upstream's schemas"""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def named(store: Store, kind: Kind, namespace: str | None, value: KubeObject) -> Key:
    """The key of a new object, with a name made for it where it asks for one.

    :raises ApiError: the namespace is not there or going, or the name is none or taken.
    """
    meta = value["metadata"]
    if namespace:
        _check_namespace(store, kind, namespace, meta.get("name"))
    if not meta.get("name"):
        if not meta.get("generateName"):
            raise ApiError(422, "Invalid", "metadata.name: Required value")
        meta["name"] = meta["generateName"] + "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
    name: str = meta["name"]
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ApiError(
            422,
            "Invalid",
            f'{kind.name} "{name}" is invalid: metadata.name: Invalid value: "{name}": '
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
        )
    key = Key(kind, namespace, name)
    if key in store.objects:
        raise ApiError(409, "AlreadyExists", f'{kind.resource} "{name}" already exists')
    return key


def _check_namespace(store: Store, kind: Kind, namespace: str, name: str | None) -> None:
    there = store.objects.get(Key(NAMESPACES, None, namespace))
    if there is None:
        raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found')
    if is_going(there):
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise ApiError(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}')


def admit(store: Store, key: Key, value: KubeObject) -> None:
    """Refuse what does not follow its schema, lacks a service account, or is over a quota.

    :raises ApiError: it is refused.
    """
    _check_schema(key, value)
    if key.kind is JOBS:
        problems = job_problems(value)
        if problems:
            raise ApiError(422, "Invalid", f'Job.batch "{key.name}" is invalid: {"; ".join(problems)}')
    if key.kind is PODS:
        _check_account(store, key, value["spec"].get("serviceAccountName") or "default")
    if key.kind in (PODS, JOBS):
        over = over_quota(store, key, value)
        if over:
            what = "pods" if key.kind is PODS else "jobs.batch"
            raise ApiError(403, "Forbidden", f'{what} "{key.name}" is forbidden: {over}')


def _check_schema(key: Key, value: KubeObject) -> None:
    without_status = {name: part for name, part in value.items() if name != "status"}
    try:
        kubernetes_validate.validate(without_status, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(map(str, error.path))
        message = f'{key.kind.name} "{key.name}" is invalid: {where}: {error.message[:300]}'
        raise ApiError(422, "Invalid", message) from None


def _check_account(store: Store, key: Key, account: str) -> None:
    if account != "default" and Key(SERVICE_ACCOUNTS, key.namespace, account) not in store.objects:
        raise ApiError(
            403,
            "Forbidden",
            f'pods "{key.name}" is forbidden: error looking up service account {key.namespace}/{account}: '
            f'serviceaccount "{account}" not found',
        )


def job_problems(job: KubeObject) -> list[str]:
    """What upstream refuses of a Job beyond its schema."""
    spec = job["spec"]
    policy = spec["template"].get("spec", {}).get("restartPolicy")
    problems = []
    if policy not in ("Never", "OnFailure"):
        problems.append(
            f'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never" (not {policy!r})'
        )
    if spec.get("podFailurePolicy") and policy != "Never":
        problems.append(
            'spec.template.spec.restartPolicy: only "Never" is supported when podFailurePolicy is specified'
        )
    if spec.get("completionMode") == "Indexed":
        problems += _problems_of_indexed(spec, job["metadata"]["name"])
    else:
        problems += [
            f"spec.{name}: Invalid value: when set, requires indexed completion mode"
            for name in ("backoffLimitPerIndex", "maxFailedIndexes")
            if spec.get(name) is not None
        ]
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        problems.append("spec.maxFailedIndexes: when set, backoffLimitPerIndex must be set as well")
    return problems


def _problems_of_indexed(spec: KubeObject, name: str) -> list[str]:
    problems = []
    if spec.get("completions") is None:
        problems.append("spec.completions: Required value: when completion mode is Indexed")
    last = (spec.get("completions") or 1) - 1
    if len(f"{name}-{last}") > 63:
        problems.append(
            "metadata.name: Invalid value: will not be able to create pod with this name: must be no more than 63"
        )
    return problems
