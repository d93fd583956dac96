# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes as pure text and values: manifests out; Jobs, pods and refusals in."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_hybrid.errors import ConfigError, StatusUnknownError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.base import Submission
from airflow_hybrid.schedulers.kubernetes import answers, manifest
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler, beyond_quota

STORAGE = {"claim": "data", "mountPath": "/data", "image": "tools:1"}


def submission(options: dict[str, Any] | None = None, **more: Any) -> Submission:
    values: dict[str, Any] = {"directory": "/data/d/T/a1", "name": "Train_Model-0123456789ab", "jobs": 4, **more}
    return Submission(options={"storage": STORAGE, **(options or {})}, **values)


def pod_of(made: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = made["spec"]["template"]["spec"]
    return spec


# --- manifests ------------------------------------------------------------------------------------------------------


def test_a_batch_is_an_indexed_job_over_its_storage() -> None:
    made = manifest.job(submission({"image": "python:3.12"}, max_concurrent=2))
    spec = made["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 2)
    assert spec["backoffLimitPerIndex"] == 0 and "backoffLimit" not in spec
    container = pod_of(made)["containers"][0]
    assert container["command"] == ["/bin/sh", "/data/d/T/a1/runner.sh"]
    assert container["image"] == "python:3.12"
    assert container["volumeMounts"] == [{"name": "airflow-hybrid", "mountPath": "/data"}]
    assert pod_of(made)["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data"}
    assert pod_of(made)["restartPolicy"] == "Never"
    assert made["metadata"]["annotations"][manifest.DIRECTORY] == "/data/d/T/a1"


def test_the_name_is_a_label_and_a_function_of_directory_and_storage() -> None:
    name = manifest.job_name(submission())
    assert name == manifest.job_name(submission({"image": "other"}))
    assert name.startswith("train-model-") and len(name) <= 52 and name == name.lower()
    assert name != manifest.job_name(submission({"storage": {**STORAGE, "claim": "other"}}))
    assert name != manifest.job_name(submission(name="Train_Model-ba9876543210"))
    assert manifest.job_name(submission(name="__-0123456789ab")).startswith("batch-")


@pytest.mark.parametrize(
    ("resources", "options", "expected"),
    [
        (Resources(), {}, None),
        (Resources(cores=0.5, explicit=frozenset({"cores"})), {}, {"requests": {"cpu": "500m"}}),
        (
            Resources(ram_mib=2048, explicit=frozenset({"ram_mib"})),
            {},
            {"requests": {"memory": "2048Mi"}, "limits": {"memory": "2048Mi"}},
        ),
        (
            Resources(cores=2, ram_mib=10, explicit=frozenset({"cores", "ram_mib"})),
            {"resources": {"limits": {"memory": "1Gi", "nvidia.com/gpu": 1}}},
            {"requests": {"cpu": "2000m"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}},
        ),
        (Resources(gpus=2), {}, {"limits": {"nvidia.com/gpu": "2"}}),
        (Resources(gpus=2), {"resources": {"limits": {"amd.com/gpu": 1}}}, {"limits": {"amd.com/gpu": "1"}}),
        (Resources(cores=1, processes=4, explicit=frozenset({"cores"})), {}, {"requests": {"cpu": "4000m"}}),
    ],
)
def test_what_the_document_asks_for_is_requested_unless_the_service_says_it(
    resources: Resources, options: dict[str, Any], expected: Any
) -> None:
    made = manifest.job(submission(options, resources=resources))
    assert pod_of(made)["containers"][0].get("resources") == expected


def test_options_and_template_meet() -> None:
    template = """
apiVersion: batch/v1
kind: Job
metadata: {labels: {team: a}}
spec:
  ttlSecondsAfterFinished: 5
  backoffLimit: 3
  template:
    spec:
      volumes: [{name: scratch, emptyDir: {}}]
      containers:
        - {name: side, image: side:1}
        - {name: main, image: x:1, volumeMounts: [{name: scratch, mountPath: /s}], args: [ignored]}
"""
    made = manifest.job(submission({"nodeSelector": {"disk": "ssd"}, "labels": {"who": "me"}}, template=template))
    assert made["spec"]["ttlSecondsAfterFinished"] == 5 and "backoffLimit" not in made["spec"]
    assert made["metadata"]["labels"]["team"] == "a" and made["metadata"]["labels"]["who"] == "me"
    side, main = pod_of(made)["containers"]
    assert side == {"name": "side", "image": "side:1"}
    assert main["image"] == "x:1" and "args" not in main and main["command"][0] == "/bin/sh"
    assert [m["name"] for m in main["volumeMounts"]] == ["scratch", "airflow-hybrid"]
    assert pod_of(made)["nodeSelector"] == {"disk": "ssd"}


def test_a_template_may_run_the_command_itself() -> None:
    template = "spec:\n  containers:\n    - {name: m, command: [bash, -lc, '. /env && {{ streamflow_command }}']}\n"
    container = pod_of(manifest.job(submission(template=template)))["containers"][0]
    assert container["command"] == ["bash", "-lc", ". /env && /bin/sh /data/d/T/a1/runner.sh"]


NOT_ONE_OBJECT = (
    "the template of the service is not one Kubernetes object of kind Pod, PodTemplate or Job\n"
    "  -> a service's `file` holds one manifest"
)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("kind: Deployment\nspec: {}\n", NOT_ONE_OBJECT),
        ("kind: Pod\n---\nkind: Pod\n", NOT_ONE_OBJECT),
        (
            "kind: [\n",
            "the template of the service is not valid YAML: line 2, column 1: "
            "expected the node content, but found '<stream end>' (while parsing a flow node)",
        ),
        ("kind: Job\nspec: {}\n", "the Job of the service's template has no spec.template"),
        (
            "kind: Pod\nspec: {{ what }}\n",
            "the template of the service cannot be filled in: 'what' is undefined\n"
            "  -> it may use: cores, hybrid_command, hybrid_environment, hybrid_workdir, job_name, jobs, memory_mib, "
            "part, streamflow_command, streamflow_environment, streamflow_workdir, walltime_s",
        ),
    ],
)
def test_a_template_that_is_no_manifest_is_one_message(template: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        manifest.job(submission(template=template))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "number"), [("500m", 0.5), ("2Gi", 2 * 2**30), (3, 3.0), ("1.5", 1.5), ("1e3", 1000.0), ("2k", 2000.0)]
)
def test_quantities(text: Any, number: float) -> None:
    assert manifest.quantity(text) == number


def test_something_else_is_no_quantity() -> None:
    with pytest.raises(ValueError) as caught:
        manifest.quantity("3 apples")
    assert str(caught.value) == "not a quantity: '3 apples'"


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "for_good"),
    [
        (
            "exceeded quota: q, requested: requests.memory=9Gi, used: requests.memory=0, limited: requests.memory=8Gi",
            True,
        ),
        ("exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4", False),
        ('Job.batch "x" is invalid: spec.completions: Required value', True),
        ('pods "x" is forbidden: error looking up service account', True),
        ('admission webhook "w" denied the request: no', True),
        ("etcdserver: request timed out", False),
    ],
)
def test_which_refusals_stay(said: str, for_good: bool) -> None:
    assert KubernetesScheduler().refused_for_good(said) is for_good


def test_one_of_several_resources_is_beyond_the_quota() -> None:
    said = "exceeded quota: q, requested: cpu=1,memory=9Gi, used: cpu=0,memory=0, limited: cpu=4,memory=8Gi"
    assert beyond_quota(said)


# --- pods and jobs --------------------------------------------------------------------------------------------------


def pod(index: int = 0, created: str = "2026-01-01T00:00:00Z", deleted: bool = False, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": f"j-{index}-abcde",
        "labels": {answers.JOB_NAME: "j"},
        "annotations": {answers.INDEX: str(index)},
        "creationTimestamp": created,
    }
    if deleted:
        metadata["deletionTimestamp"] = created
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": status}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    terminated = {"exitCode": code, "reason": reason}
    return {"phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}]}  # fmt: skip


def failed(reason: str, message: str = "") -> dict[str, Any]:
    return {"phase": "Failed", "reason": reason, "message": message}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    why = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"state": why}]}


def disrupted(reason: str) -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "why"}]


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (ended(0, "Completed"), JobState.COMPLETED, ""),
        (ended(3), JobState.FAILED, "container main ended with exit code 3 (pod j-0-abcde on n1)"),
        (ended(137, "OOMKilled"), JobState.OUT_OF_MEMORY, "OOMKilled: it used more memory than its limit"),
        # the kernel chose a child: the container itself ended well
        (ended(0, "OOMKilled"), JobState.OUT_OF_MEMORY, "OOMKilled"),
        (failed("Evicted", "low on memory"), JobState.PREEMPTED, "Evicted: low on memory"),
        (failed("NodeLost", "node n1"), JobState.NODE_FAIL, "NodeLost: node n1"),
        (failed("DeadlineExceeded"), JobState.TIMEOUT, "DeadlineExceeded"),
        ({"phase": "Failed", "conditions": disrupted("PreemptionByScheduler")}, JobState.PREEMPTED, "PreemptionBy"),
        ({"phase": "Failed", "conditions": disrupted("DeletionByTaintManager")}, JobState.NODE_FAIL, "DeletionByTaint"),
        (failed("StartError", "no such file"), JobState.FAILED, "StartError: no such file"),
        ({"phase": "Running"}, JobState.RUNNING, ""),
        ({}, JobState.PENDING, ""),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                              "message": "0/3 nodes are available"}]},
         JobState.PENDING, "Unschedulable: 0/3 nodes are available"),
        (waiting("ImagePullBackOff", "Back-off"), JobState.PENDING, "ImagePullBackOff: Back-off"),
        (waiting("ContainerCreating"), JobState.PENDING, ""),
    ],
)  # fmt: skip
def test_how_a_pod_stands_in_the_clusters_words(status: dict[str, Any], state: JobState, words: str) -> None:
    found = answers.of_pod(pod(**status))
    assert found.state is state
    assert words in found.reason


def job(conditions: Any = (), *, given_up: str = "", **status: Any) -> dict[str, Any]:
    annotations = {manifest.GAVE_UP: given_up} if given_up else {}
    return {"metadata": {"name": "j", "annotations": annotations}, "spec": {"completions": 3, "parallelism": 3},
            "status": {"conditions": list(conditions), **status}}  # fmt: skip


def is_true(kind: str, reason: str = "") -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": "m"}


def test_an_index_whose_pod_was_disrupted_is_pending_while_its_job_lives() -> None:
    evicted = pod(1, phase="Failed", reason="Evicted", conditions=disrupted("TerminationByKubelet"))
    assert answers.elements(job(), "j", [evicted])["j_1"].state is JobState.PENDING
    over = job([is_true("Failed", "FailedIndexes")])
    assert answers.elements(over, "j", [evicted])["j_1"].state is JobState.PREEMPTED


def test_the_latest_pod_of_an_index_counts() -> None:
    pods = [pod(0, "2026-01-01T00:00:09Z", **ended(0)), pod(0, "2026-01-01T00:00:01Z", **ended(1))]
    assert answers.elements(job(), "j", pods)["j_0"].state is JobState.COMPLETED


def test_how_indexes_without_a_pod_stand() -> None:
    assert answers.elements(job(), "j", [])["j"].state is JobState.PENDING
    assert answers.elements(None, "j", []) == {}
    assert "j" not in answers.elements(job([is_true("Complete")]), "j", [])
    failed = answers.elements(job([is_true("Failed", "BackoffLimitExceeded")]), "j", [])["j"]
    assert (failed.state, failed.reason) == (JobState.FAILED, "BackoffLimitExceeded: m")
    late = answers.elements(job([is_true("Failed", "DeadlineExceeded")]), "j", [pod(2, phase="Running")])
    assert late["j"].state is late["j_2"].state is JobState.TIMEOUT


def test_a_job_that_was_given_up_says_why_of_every_element() -> None:
    found = answers.elements(job(given_up="ImagePullBackOff: x"), "j", [pod(0, phase="Pending"), pod(1, **ended(3))])
    assert found["j"].reason == found["j_0"].reason == "ImagePullBackOff: x"
    assert found["j_1"].reason.startswith("Error: container main")
    assert answers.ended(job(given_up="x"))


def test_counts() -> None:
    assert answers.counts(job(ready=1, active=2, succeeded=1)) == (1, 1)
    assert answers.stuck(job(ready=1, active=2, succeeded=1))
    assert not answers.stuck(job(ready=2, active=2, succeeded=1))


# --- questions and answers ------------------------------------------------------------------------------------------


def test_status_is_read_from_the_answer() -> None:
    scheduler = KubernetesScheduler()
    text = "#status\n" + json.dumps({"a": [2, 1, ["Unschedulable: x"]]}) + "\n#rc 0\n"
    assert scheduler.parse_status(text, ["a", "b"])["a"].reasons == ("Unschedulable: x",)
    assert "b" not in scheduler.parse_status(text, ["a", "b"])
    for bad in ("#status\nthe API server was not reached\n#rc 2\n", "#status\n{", ""):
        with pytest.raises(StatusUnknownError):
            scheduler.parse_status(bad, ["a"])


def test_an_account_without_an_answer_is_incomplete() -> None:
    scheduler = KubernetesScheduler()
    account = scheduler.parse_account('#account\n{"a_0": ["OUT_OF_MEMORY", "OOMKilled"]}\n#rc 0\n', ["a"])
    assert account.complete and account.elements["a_0"].state is JobState.OUT_OF_MEMORY
    assert not scheduler.parse_account("#account\nnobody\n#rc 2\n", ["a"]).complete
    assert not scheduler.parse_account("", ["a"]).complete


def test_the_service_pod_is_the_same_for_the_same_storage() -> None:
    made = manifest.service_job("kube", {**STORAGE, "nodeSelector": {"a": "b"}}, 60)
    assert made["metadata"]["name"] == manifest.service_name("kube", {**STORAGE, "nodeSelector": {"a": "b"}})
    assert made["metadata"]["name"] != manifest.service_name("kube", STORAGE)
    spec = made["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"a": "b"}
    assert [m["mountPath"] for m in spec["containers"][0]["volumeMounts"]] == ["/data", manifest.ALIVE_DIRECTORY]


# --- what YAML and Kubernetes would read in a path -------------------------------------------------------------------

ODD = '/data/it\'s "odd" $(x) $$(HOME) $HOME $$ [a]: {b} #c %d \\e -f\nlast $'


def expanded(words: list[str], known: Mapping[str, str]) -> list[str]:
    """What a container gets as its command: the kubelet's ``third_party/forked/golang/expansion``."""
    return [
        re.sub(r"\$(\$|\(([^)]*)\))", lambda m: "$" if m[1] == "$" else known.get(m[2], m[0]), word) for word in words
    ]


def test_kubernetes_expands_nothing_in_the_path_of_the_runner() -> None:
    (container,) = pod_of(manifest.job(submission(directory=ODD)))["containers"]
    assert expanded(container["command"], {"x": "evil", "HOME": "/root"}) == ["/bin/sh", f"{ODD}/runner.sh"]


@pytest.mark.parametrize(
    "template",
    [
        "spec: {containers: [{name: m, command: [sh, -c, '. /env && {{ streamflow_command }}']}]}",
        'spec: {containers: [{name: m, command: [sh, -c], args: [". /env && {{ hybrid_command }}"]}]}',
        "spec:\n  containers:\n    - name: m\n      command: [sh, -c]\n      args:\n        - >-\n"
        "          . /env &&\n          {{hybrid_command}}\n",
    ],
)
def test_the_command_in_a_template_is_read_by_the_shell_alone(template: str) -> None:
    (container,) = pod_of(manifest.job(submission(template=template, directory=ODD)))["containers"]
    words = expanded([*container["command"], *container.get("args", [])], {"x": "evil", "HOME": "/root"})
    assert words == ["sh", "-c", f". /env && /bin/sh {shlex.quote(f'{ODD}/runner.sh')}"]


def test_other_values_of_a_template_are_as_they_are() -> None:
    template = (
        "metadata: {annotations: {where: '{{ hybrid_workdir }}', also: {{ hybrid_workdir | tojson }}}}\n"
        "spec:\n  containers:\n"
        "    - name: m\n      workingDir: {{ hybrid_workdir }}\n"
        "      env:\n        - {name: D, value: '{{ hybrid_workdir }}'}\n"
        "        - {name: N, value: 'n{{ jobs }}'}\n        - {name: H, value: $(D)}\n"
    )
    made = manifest.job(submission(template=template, directory=ODD))
    (container,) = pod_of(made)["containers"]
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"where": ODD, "also": ODD}
    assert container["workingDir"] == ODD
    assert expanded([container["env"][0]["value"]], {"x": "evil"}) == [ODD]
    assert container["env"][1:] == [{"name": "N", "value": "n4"}, {"name": "H", "value": "$(D)"}]
