# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A Kubernetes cluster for tests: the double of the test bed's site ``kube``, or a real one.

For a real cluster set ``AIRFLOW_HYBRID_KUBECONFIG`` (a variable of its own: no test must ever meet the cluster that
``KUBECONFIG`` happens to name), and where the defaults do not fit ``AIRFLOW_HYBRID_KUBE_NAMESPACE``,
``AIRFLOW_HYBRID_KUBE_CLAIM`` (an existing claim that several pods can write to) and ``AIRFLOW_HYBRID_KUBE_IMAGE`` (with
sh, coreutils, findutils, tar and flock). Tests that do harm, or count requests, need the double.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.testbed.fixture import Testbed

CLAIM = "airflow-hybrid-test"


@dataclass
class Kube:
    """One namespace of a cluster, with a claim for files.

    :ivar image: of jobs; ``tools``: of the service pod.
    :ivar testbed: where the double is; None for a real cluster.
    """

    kubeconfig: Path
    namespace: str
    claim: str
    image: str
    tools: str
    testbed: Testbed | None
    _config: dict[str, Any] = field(default_factory=dict)

    def config(self, services: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """``deployments.<name>.config`` of a hybrid file."""
        return {
            "kubeconfig": str(self.kubeconfig),
            "namespace": self.namespace,
            "storage": {"claim": self.claim, "image": self.tools, "idle": 60},
            "services": services if services is not None else {"small": {"image": self.image}},
            **more,
        }

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        argv = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *args]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, what: str, *args: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", what, "-o", "json", *args))["items"]
        return items

    def batches(self, what: str = "jobs") -> list[dict[str, Any]]:
        """Our Jobs, or their pods, that are not being deleted."""
        found = self.get(what, "-l", "airflow-hybrid/role=batch")
        return [item for item in found if not item["metadata"].get("deletionTimestamp")]

    # --- the double only

    def need_double(self) -> None:
        if self.testbed is None:
            pytest.skip("needs the double: it counts requests or does harm")

    def control(self, path: str, **body: Any) -> Any:
        """Look at the double, or do it harm; see ``tests/testbed/kubesim/server/harm.py``."""
        self.need_double()
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        request = urllib.request.Request(
            f"{cluster['server']}/kubesim/{path}",
            data=None if path == "requests" else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {user['token']}"},
        )
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(request, context=context, timeout=120) as answer:
            return json.load(answer)

    def requests(self) -> Counter[str]:
        """``METHOD resource`` -> how often we asked it since ``control("reset")``."""
        found = self.control("requests")["requests"]
        return Counter(f"{method} {resource}" for method, resource, _, agent in found if agent == "airflow-hybrid")

    def created(self, resource: str) -> list[str]:
        """Names of the objects that were really made since ``control("reset")``."""
        return [name for kind, name in self.control("requests")["created"] if kind == resource]

    def volume(self, command: str) -> str:
        """Run shell text as root where the double keeps its claims, the test's mounted at ``/airflow_hybrid``."""
        assert self.testbed is not None
        there = f"/srv/kubesim/pvc/{self.namespace}/{self.claim}"
        return self.testbed.exec("kube", "sh", "-c", command.replace("/airflow_hybrid", there))

    def watches(self) -> list[str]:
        """What is watched just now."""
        return list(self.control("requests")["watches"])


def real() -> Kube | None:
    """The real cluster that the environment names."""
    path = os.environ.get("AIRFLOW_HYBRID_KUBECONFIG")
    if not path:
        return None
    image = os.environ.get("AIRFLOW_HYBRID_KUBE_IMAGE", "debian:12-slim")
    namespace = os.environ.get("AIRFLOW_HYBRID_KUBE_NAMESPACE", "default")
    return Kube(Path(path), namespace, os.environ.get("AIRFLOW_HYBRID_KUBE_CLAIM") or CLAIM, image, image, None)


def double(bed: Testbed) -> Kube:
    """The double that runs in the test bed's site ``kube``."""
    return Kube(bed.folder / "kubeconfig", "default", CLAIM, "localhost/busybox:1", "localhost/tools:1", bed)


def ready(kube: Kube) -> Iterator[Kube]:
    """The cluster with a claim for files, which is removed afterwards if it was made here."""
    made = kube.claim == CLAIM
    if made:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": kube.claim}, "spec": spec}
        kube.apply(claim)
    yield kube
    kube.kubectl("delete", "jobs", "-l", "app.kubernetes.io/managed-by=airflow-hybrid", "--wait=false", check=False)
    if made:
        kube.kubectl("delete", "pvc", kube.claim, "--wait=false", check=False)


def until(what: Any, timeout_s: float = 240) -> Any:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.3)
    return found
