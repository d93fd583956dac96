# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""DAGs with steps on Kubernetes: files go from site to site, and a kill of the triggerer runs no pod's jobs twice."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from airflow_hybrid.model import FileRef
from tests.needs import unavailable
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.cwl import cwltool, essence
from tests.system.dag_runs import run_dags
from tests.system.kube import Kube
from tests.system.kubernetes.test_helm import CHART
from tests.system.kubernetes.test_kubernetes_deployed import manifests
from tests.testbed.fixture import Testbed

DOCUMENT = Path(__file__).parents[1] / "documents" / "shout.cwl"
INPUTS = {"words": ["alpha", "beta", "gamma"]}
JOBS = 24
CHUNKS = 4


def test_a_workflow_over_this_machine_kubernetes_and_ssh(kube: Kube, testbed: Testbed, tmp_path: Path) -> None:
    kube.need_double()  # the document names an image of it
    site = testbed.sites["cloud"]
    node = {"hostname": site.host, "username": site.user, "sshKey": str(site.key)}
    deployments = {
        "cloud": {
            "type": "ssh",
            "deferrable": False,  # DAG.test() runs no triggers that end their tasks
            "config": {"nodes": [node], "known_hosts": [str(testbed.known_hosts)]},
            "workdir": "~/air flow",
        },
        "cluster": {"type": "kubernetes", "deferrable": False, "config": kube.config()},
    }
    bindings = {
        "/shout": {"target": {"deployment": "cluster", "service": "small"}, "scatter": "batch"},
        "/join": {"target": "cloud"},
    }
    kube.control("reset")
    options = {"deployments": deployments, "bindings": bindings}
    run = {"document": str(DOCUMENT), "options": options, "conf": INPUTS}
    (result,) = run_dags(tmp_path / "airflow", [run])
    assert result["state"] == "success", result["log"][-5000:]
    expected = cwltool(DOCUMENT, INPUTS, tmp_path / "cwltool", os.environ["PATH"], "--no-container")
    assert essence(result["outputs"]) == essence(expected)
    # one service pod, and one Indexed Job for the scatter
    assert sum(1 for name in kube.created("jobs") if name.startswith("shout-")) == 1


@pytest.mark.long
def test_a_run_has_a_chart_and_manifests_of_its_own_and_leaves_none(kube: Kube, tmp_path: Path) -> None:
    if importlib.util.find_spec("helm_python") is None:
        unavailable("a chart", "Helm's library", "pip install 'airflow-hybrid[helm]'")
    file = tmp_path / "worker.yml"
    file.write_text(yaml.safe_dump_all(manifests(kube.tools)))
    where = {"kubeconfig": str(kube.kubeconfig), "timeout": 120}
    chart = {**where, "chart": str(CHART), "values": {"image": kube.tools, "mood": "of the chart"}}
    deployments = {
        "chart": {"type": "helm", "deferrable": False, "config": chart},
        "box": {"type": "kubernetes", "deferrable": False, "config": {**where, "files": [str(file)]}},
    }
    bindings = {
        "/first": {"target": {"deployment": "chart", "service": "main"}},
        "/second": {"target": {"deployment": "box", "service": "main"}},
    }
    document, options = str(DOCUMENT.with_name("handed_on.cwl")), {"deployments": deployments, "bindings": bindings}
    (result,) = run_dags(tmp_path / "airflow", [{"document": document, "conf": {"word": "good"}, "options": options}])
    assert set(result["tasks"].values()) == {"success"}, result["log"][-5000:]
    assert {f"{verb}_{name}" for verb in ("deploy", "undeploy") for name in ("chart", "box")} < set(result["tasks"])
    said = Path(FileRef.parse(result["outputs"]["out"]["location"]).path).read_text()
    assert said == "GOOD\nMOOD=OF THE CHART\n"
    assert kube.get("ns", "-l", "airflow-hybrid/token") == []


@pytest.mark.slow
@pytest.mark.faults
def test_kill_of_the_triggerer_loses_and_doubles_no_job(airflow: AirflowStack, dags: Dags, kube: Kube) -> None:
    kube.need_double()
    record = f"/airflow_hybrid/record.{os.urandom(4).hex()}"
    target = {"deployment": "cluster", "service": "small"}
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_record.cwl"},
        "bindings": [{"step": "/job", "target": target, "max_mapped": CHUNKS}],
        "dag": {"default_args": {"retries": 2, "retry_delay": 1}},
    }
    deployments = {"cluster": {"type": "kubernetes", "config": kube.config()}}
    dag = dags.add(
        "record_kube", {"version": "v1.0", "workflows": {"record_kube": workflow}, "deployments": deployments}
    )
    airflow.api.unpause(dag)
    kube.control("reset")
    words = [f"w{i}" for i in range(JOBS)]
    run = airflow.api.trigger(dag, {"words": words, "record": record, "seconds": 4})

    def ran() -> list[str]:
        return kube.volume(f"cat {record} 2>/dev/null || :").split()

    wait_for(lambda: len(ran()) >= 2, 120, lambda: airflow.api.failures(dag, run), poll_s=0.3)
    airflow.kill("triggerer", family=True)
    assert len(ran()) < JOBS, "all jobs had started before the triggerer was killed: the test shows nothing"
    airflow.restart("triggerer")

    def ended() -> str | None:
        found = str(airflow.api.run(dag, run)["state"])
        return found if found in ("success", "failed") else None

    state = wait_for(ended, 300, lambda: airflow.api.failures(dag, run))
    assert state == "success", airflow.api.failures(dag, run)
    assert Counter(ran()) == Counter(words)
    created = Counter(name for name in kube.created("jobs") if name.startswith("job-"))
    assert len(created) == CHUNKS
