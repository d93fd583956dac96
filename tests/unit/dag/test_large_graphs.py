# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Work that must not grow with the square of a document's steps: operations are counted, not seconds."""

from __future__ import annotations

import copy
import cProfile
import itertools
import json
import pstats
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cwltool.workflow
import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from ruamel.yaml.comments import CommentedSeq

from airflow_hybrid import HybridDag
from airflow_hybrid.config import Bindings, Deployment, bind, check_bindings
from airflow_hybrid.cwl.adapt import prepare
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.dag.lifecycle import TaskUse, add_deployment_tasks
from airflow_hybrid.dag.task_ids import TaskIds
from airflow_hybrid.errors import ConfigError, CwlError
from airflow_hybrid.model import Binding, Target

CAT = {"class": "CommandLineTool", "baseCommand": "cat", "inputs": {"file": "File"}, "outputs": {"out": "stdout"}}


def chain(count: int, *, backwards: bool = False) -> dict[str, Any]:
    """A workflow of ``count`` steps that each read the one before, listed from the first or from the last one."""
    sources = ["file", *(f"s{k}/out" for k in range(count - 1))]
    steps = {f"s{k}": {"run": "cat.cwl", "in": {"file": source}, "out": ["out"]} for k, source in enumerate(sources)}
    if backwards:
        steps = dict(reversed(steps.items()))
    return {"cwlVersion": "v1.2", "class": "Workflow", "inputs": {"file": "File"}, "outputs": {}, "steps": steps}


def written(folder: Path, document: Any) -> Path:
    (folder / "cat.cwl").write_text(json.dumps({"cwlVersion": "v1.2", **CAT}))
    path = folder / "main.cwl"
    path.write_text(json.dumps(document, indent=1))
    return path


def calls(work: Callable[[], object]) -> int:
    """How many function calls some work takes."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def growth(work: Callable[[int], object], sizes: Sequence[int]) -> float:
    """How many times more calls another step costs in a large document than in a small one."""
    first, second, third, fourth = (calls(lambda size=size: work(size)) for size in sizes)  # type: ignore[misc]
    return ((fourth - third) / (sizes[3] - sizes[2])) / ((second - first) / (sizes[1] - sizes[0]))


def test_compiling_takes_the_same_for_each_step(tmp_path: Path) -> None:
    compile_document(str(written(tmp_path, chain(2))))  # what is loaded once

    def compiled(count: int) -> None:
        compile_document(str(written(tmp_path, chain(count, backwards=True))))

    assert growth(compiled, (10, 20, 80, 100)) < 1.2


def test_building_a_dag_takes_the_same_for_each_step_and_binding(tmp_path: Path) -> None:
    def built(count: int) -> None:
        path = written(tmp_path, chain(count))
        bindings = tuple(Binding(f"/s{k}", (Target("local"),)) for k in range(count))
        HybridDag(path, dag_id="chain", bindings=bindings)

    for count in (10, 20, 80, 100):
        compile_document(str(written(tmp_path, chain(count))))
    sizes = (10, 20, 80, 100)
    for size in sizes:
        built(size)  # compiled, and in the cache
    assert growth(built, sizes) < 1.2


def test_a_long_chain_is_no_circle() -> None:
    prepare()
    links = [{"id": f"file:///w.cwl#s{k}/file", "source": f"file:///w.cwl#s{k - 1}/out"} for k in range(1, 3000)]
    workflow: Any = cwltool.workflow
    workflow.circular_dependency_checker(links)  # cwltool's own is recursive


def test_steps_that_wait_for_each_other_are_named_and_no_others(tmp_path: Path) -> None:
    document = chain(5)
    document["steps"]["s1"]["in"]["file"] = "s3/out"
    path = written(tmp_path, document)
    with pytest.raises(CwlError) as caught:
        compile_document(str(path))
    assert str(caught.value) == f"{path}:1:1: the steps /s1, /s2, /s3 depend on each other in a circle"


def test_positions_of_a_copied_list_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_document(str(written(tmp_path, chain(1))))
    copied: list[object] = []
    attributes = CommentedSeq.copy_attributes

    def counted(sequence: CommentedSeq, target: Any, memo: Any = None) -> Any:
        copied.append(sequence)
        return attributes(sequence, target, memo=memo)

    monkeypatch.setattr(CommentedSeq, "copy_attributes", counted)
    sequence = CommentedSeq(range(50))
    for index in range(50):
        sequence.lc.add_kv_line_col(index, [index, 0, index, 0])
    twin = copy.deepcopy(sequence)
    assert (list(twin), twin.lc.data, len(copied)) == (list(sequence), sequence.lc.data, 1)


# --- bindings ---------------------------------------------------------------------------------------------------------


def test_the_binding_of_the_longest_path_holds() -> None:
    paths = ("/", "/a", "/a/b/", "/ab", "/a")
    bindings = Bindings(Binding(path, (Target(str(number)),)) for number, path in enumerate(paths))
    found = {
        path: bind(bindings, path).targets[0].deployment for path in ("/x", "/a", "/a/c", "/a/b", "/a/b/c", "/ab/")
    }
    assert found == {"/x": "0", "/a": "1", "/a/c": "1", "/a/b": "2", "/a/b/c": "2", "/ab/": "3"}
    assert bind(bindings[1:], "/x").targets == (Target("local"),)


def test_a_task_is_told_of_the_bindings_of_its_step_only(tmp_path: Path) -> None:
    bindings = Bindings([Binding("/", (Target("local"),)), *(Binding(f"/s{k}", (Target("local"),)) for k in range(9))])
    graph = compile_document(str(written(tmp_path, chain(9))))
    assert [b.path for b in bindings.of(graph.steps[3])] == ["/s3", "/"]


def test_a_message_about_many_wrong_bindings_has_the_first_ones() -> None:
    wrong = Bindings(Binding(f"/x{k}", (Target("local"),)) for k in range(70))
    with pytest.raises(ConfigError) as caught:
        check_bindings(wrong, {}, ["/step"], where="dag.py")
    lines = str(caught.value).splitlines()
    assert lines[0] == "dag.py: 70 problems in the bindings"
    assert (len(lines), lines[-1]) == (102, "  and 20 more")


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_names_that_are_alike_to_airflow_get_ids_one_after_the_other() -> None:
    ids = TaskIds(())
    assert [ids.new("", chr(0x4E00 + k)) for k in range(5)] == ["_", "__", "___", "____", "_____"]
    many = TaskIds(())
    one_by_one = calls(lambda: [many.new("", chr(0x4E00 + k)) for k in range(150)])
    assert calls(lambda: [many.new("", chr(0x4E00 + k)) for k in range(150, 300)]) < 1.5 * one_by_one


def test_a_deployment_that_a_chain_of_a_thousand_tasks_needs() -> None:
    """Who needs it is found without a step into the depth for each task."""
    dag = DAG("chain", schedule=None)
    with dag:
        tasks = [BaseOperator(task_id=f"t{k}") for k in range(1200)]
        for first, second in itertools.pairwise(tasks):
            first.set_downstream(second)
        used = {f"t{k}": TaskUse(frozenset({f"t{k - 1}"})) for k in range(1, 1200)}
        bound = frozenset({("box", None)})
        used["t600"] = TaskUse(frozenset({"t599"}), bound, hands_on=True)
        deployments = {"box": Deployment("box", "docker", {"image": "busybox"}, managed=True)}
        add_deployment_tasks(dag, deployments, used, lambda name: name)
    deploy, undeploy = dag.get_task("deploy_box"), dag.get_task("undeploy_box")
    assert (deploy.upstream_task_ids, deploy.downstream_task_ids) == ({"t599"}, {"t600", "undeploy_box"})
    assert undeploy.upstream_task_ids == {"deploy_box", "t600", "t601"}
