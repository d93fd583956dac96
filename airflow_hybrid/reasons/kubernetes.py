# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a pod does not run, in the words of Kubernetes' scheduler, kubelet and API server."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_hybrid.reasons.explanation import Explanation, Rule, first_of

_PULL = "the image {image} cannot be pulled"
_IMAGE = r"(?:.*?image \"?(?P<image>[^\s\":]+(?::[\w.-]+)?(?:@[\w:]+)?)\"?)?"
_DESCRIBE = "`kubectl describe pods -l job-name={job}` shows the events"

CONTAINER = (
    Rule(
        r"^InvalidImageName\b(.*?\"(?P<image>[^\"]+)\")?",
        "the name of the image is not one: {image}",
        "correct `dockerPull` of the step's DockerRequirement, or `image` of the service in the hybrid file",
    ),
    Rule(
        r"^ErrImageNeverPull\b",
        "the image is not on the node, and `imagePullPolicy: Never` forbids to pull it",
        "bring the image to the nodes, or change `imagePullPolicy` of the service in the hybrid file",
    ),
    Rule(
        r"^(ErrImagePull|ImagePullBackOff)\b.*(unauthorized|authentication required|access denied|authorization failed"
        r"|403 Forbidden|denied: )",
        "the registry refuses the image, or has none of that name",
        "check the name; for a private registry, set `imagePullSecrets` of the service in the hybrid file",
    ),
    Rule(
        r"^(ErrImagePull|ImagePullBackOff)\b.*(not found|manifest unknown)",
        "the registry has no image of that name",
        "correct `dockerPull` of the step's DockerRequirement, or `image` of the service in the hybrid file",
    ),
    Rule(
        r"^(ErrImagePull|ImagePullBackOff)\b.*(toomanyrequests|rate limit)",
        "the registry's limit for pulls is reached",
        "it is tried again by itself; credentials (`imagePullSecrets`) or a mirror of the registry raise the limit",
    ),
    Rule(
        r"^(ErrImagePull|ImagePullBackOff|RegistryUnavailable)\b.*(no such host|i/o timeout|connection refused|timeout"
        r"|deadline exceeded|x509)",
        "the nodes cannot reach the registry of the image",
        f"it is tried again by itself; can the nodes reach that registry? {_DESCRIBE}",
    ),
    Rule(
        rf"^(ErrImagePull|ImagePullBackOff)\b{_IMAGE}",
        _PULL,
        f"it is tried again by itself; is the name right, and may the nodes pull it (`imagePullSecrets`)? {_DESCRIBE}",
    ),
    Rule(
        r"^(RegistryUnavailable|ErrImageInspect|ImageInspectError)\b",
        "the image cannot be had or read",
        f"it is tried again by itself; {_DESCRIBE}",
    ),
    Rule(
        r"^CreateContainerConfigError\b.*(?P<kind>secret|configmap) \"(?P<name>[^\"]+)\" not found",
        "the {kind} {name}, which the pod needs, does not exist",
        "create it in the namespace, or correct the service in the hybrid file",
    ),
    Rule(
        r"^CreateContainerConfigError\b.*(runAsNonRoot|run as root)",
        "the image runs as root, which the cluster forbids",
        "set `securityContext: {{runAsUser: ...}}` in the service's pod template, or use another image",
    ),
    Rule(
        r"^(CreateContainerConfigError|CreateContainerError)\b:? ?(?P<why>.*)",
        "the container cannot be made: {why}",
        f"correct the service in the hybrid file; {_DESCRIBE}",
    ),
    Rule(
        r"^(RunContainerError|StartError|ContainerCannotRun)\b:? ?(?P<why>.*)",
        "the container cannot be started: {why}",
        "does the image have `/bin/sh`, and what the service's pod template names?",
    ),
    Rule(
        r"^CrashLoopBackOff\b",
        "a container of the pod ends again and again",
        "`kubectl logs -l job-name={job} --all-containers` shows what it says",
    ),
    Rule(
        r"^SchedulingGated\b",
        "another controller has not released the pod yet (a queue such as Kueue)",
        f"it starts by itself when that has admitted it; {_DESCRIBE}",
        passes=True,
    ),
)

NOT_CREATED = (
    Rule(
        r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.+), used: (?P<used>.+), limited: (?P<limit>[^)]+)",
        "the namespace's quota {quota} does not allow it: asked {asked}, used {used}, limit {limit}",
        "it starts when others have ended; if it asks for more than the limit, ask for less in the step's"
        " ResourceRequirement, or ask who manages the quota (`kubectl describe quota`)",
    ),
    Rule(
        r"violates PodSecurity \"(?P<level>[^\"]+)\": ?(?P<why>.*)",
        "the namespace allows only pods of the level {level}: {why}",
        "change the service's pod template in the hybrid file, or ask who manages the namespace",
    ),
    Rule(
        r"(maximum|minimum) (?P<what>[\w-]+) usage per (Container|Pod) is (?P<limit>[^,\]]+)",
        "the namespace's limits do not allow what it asks for: {what} per container or pod, at the limit of {limit}",
        "change the step's ResourceRequirement; `kubectl describe limitrange` shows the limits",
    ),
    Rule(
        r"serviceaccount \"?(?P<name>[^\s\"]+)\"? not found",
        "the service account {name} does not exist",
        "create it in the namespace, or correct `serviceAccountName` of the service's pod template",
    ),
    Rule(
        r"User \"(?P<user>[^\"]+)\" cannot (?P<verb>\w+) resource \"(?P<what>[^\"]+)\"",
        "{user} may not {verb} {what} there",
        "ask who manages the cluster for a role that allows it",
    ),
    Rule(
        r"admission webhook \"(?P<hook>[^\"]+)\" denied the request: (?P<why>.+)",
        "a policy of the cluster ({hook}) forbids it: {why}",
        "change the service's pod template in the hybrid file, or ask who manages the cluster",
    ),
    Rule(
        r"failed calling webhook \"(?P<hook>[^\"]+)\"",
        "the cluster's own check of pods ({hook}) does not answer",
        "it is tried again by itself; if that goes on, tell who manages the cluster",
    ),
    Rule(
        r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" not found",
        "the volume claim {claim} does not exist",
        "create it in the namespace, or correct the service's volumes in the hybrid file",
    ),
    Rule(
        r"namespaces \"(?P<name>[^\"]+)\" not found",
        "the namespace {name} does not exist",
        "create it, or correct `namespace` of the deployment",
    ),
)

_LACKS = (
    (
        r"(\d+ )?Insufficient (?P<what>[\w/-]+(\.[\w/-]+)*)",
        "too little free {what}",
        "it starts when others have ended; if no node is that large, lower `coresMin` or `ramMin` of the step's"
        " ResourceRequirement",
    ),
    (r"(\d+ )?Too many pods", "as many pods as may be", "it starts when others have ended"),
    (
        r"(\d+ )?node\(s\) had (untolerated )?taints? (?P<what>\{[^}]*\})",
        "a taint {what} that it does not tolerate",
        "if it may run there, add that to `tolerations` of the service in the hybrid file",
    ),
    (
        r"(\d+ )?node\(s\) (didn't|did not) match (Pod's )?(node affinity/selector|node affinity|node selector)"
        r"|MatchNodeSelector",
        "other labels than it asks for",
        "correct `nodeSelector` of the service in the hybrid file",
    ),
    (r"(\d+ )?node\(s\) were unschedulable", "no new pods for now (cordoned)", "it starts when nodes are open again"),
    (
        r"(\d+ )?node\(s\) had volume node affinity conflict",
        "no way to its volume (another zone)",
        "let the service use a volume that all nodes reach",
    ),
    (
        r"unbound immediate PersistentVolumeClaims",
        "there is no volume for its claim",
        "`kubectl get pvc` shows the claim; its storage class has to provide a volume",
    ),
    (
        r"persistentvolumeclaim \"(?P<what>[^\"]+)\" not found",
        "the volume claim {what} does not exist",
        "create it in the namespace, or correct the service's volumes in the hybrid file",
    ),
    (
        r"(\d+ )?node\(s\) didn't (match|satisfy) .*(anti-affinity|topology spread|affinity rules)",
        "pods that its own rules keep it away from",
        "change `affinity` in the service's pod template",
    ),
    (
        r"(\d+ )?node\(s\) didn't have free ports",
        "no free port of those it asks for",
        "it starts when others have ended",
    ),
)
"""what keeps a pod from nodes: pattern, what they have in words, remedy"""
_NO_NODES = Rule(r"no nodes available", "the cluster has no node that takes pods", _DESCRIBE)


def of_reason(reason: str, words: Mapping[str, str]) -> Explanation | None:
    """Why a pod does not run; None: none of the reasons that are known here.

    :param reason: reason and message, in one line.
    :param words: ``job``: the name of its Job.
    """
    unscheduled = re.search(r"nodes are available|no nodes available|^Unschedulable", reason, re.IGNORECASE)
    if unscheduled is not None:
        return _unschedulable(reason, words)
    return first_of((*CONTAINER, *NOT_CREATED), reason, words)


def _unschedulable(reason: str, words: Mapping[str, str]) -> Explanation | None:
    """Several causes in one sentence: each excludes some of the nodes."""
    text = re.split(r"\bpreemption: ", reason)[0]
    causes: dict[str, str] = {}
    for pattern, lack, remedy in _LACKS:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            what = " ".join((match.groupdict().get("what") or "").split())
            count = re.match(r"\d+", match[0])
            causes[lack.format(what=what) + (f" on {count[0]}" if count else "")] = remedy
    if not causes:
        return first_of((_NO_NODES,), text, words)
    all_nodes = re.search(r"0/(\d+) nodes", text)
    nodes = f"none of {all_nodes[1]} nodes takes it" if all_nodes and all_nodes[1] != "1" else "no node takes it"
    return Explanation(f"{nodes}: {', '.join(causes)}", "; ".join(dict.fromkeys(causes.values())))
