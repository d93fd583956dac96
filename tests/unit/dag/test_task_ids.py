# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Ids made of the names in documents: within Airflow's limits, unique, always the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.dag.hybrid_dag import HybridDag
from airflow_hybrid.dag.task_ids import Below, TaskIds, dag_id_of
from airflow_hybrid.errors import CwlError

ECHO: dict[str, Any] = {
    "class": "CommandLineTool",
    "baseCommand": "echo",
    "inputs": {"m": {"type": "string", "inputBinding": {}}},
    "outputs": {"o": "stdout"},
    "stdout": "o",
}


def nested(names: list[str]) -> dict[str, Any]:
    """A workflow in a workflow in a ..., each with a step of the next name; the innermost steps are two."""
    if not names:
        return ECHO
    steps = [names[0], names[0] + "_too"] if len(names) == 1 else [names[0]]
    run = nested(names[1:])
    return {
        "class": "Workflow",
        "inputs": {"m": "string"},
        "steps": {name: {"run": run, "in": {"m": "m"}, "out": ["o"]} for name in steps},
        "outputs": {"o": {"type": "File", "outputSource": f"{steps[0]}/o"}},
    }


def dag_of(folder: Path, names: list[str]) -> HybridDag:
    import json

    header = {"cwlVersion": "v1.2", "requirements": {"SubworkflowFeatureRequirement": {}}}
    document = folder / "main.cwl"
    document.write_text(json.dumps({**header, **nested(names)}))
    return HybridDag(str(document), dag_id="nested")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    yield


def test_names_that_fit_are_kept(tmp_path: Path) -> None:
    names = ["a" * 78, "b" * 78, "c" * 78]
    wanted = ".".join(names)
    assert set(dag_of(tmp_path, names).task_ids) == {"inputs", "outputs", wanted, wanted + "_too"}


def test_names_that_are_too_long_together_are_shortened_and_always_the_same(tmp_path: Path) -> None:
    names = [f"genome_alignment_and_variant_calling_with_quality_control_number_{n}" for n in range(4)]
    ids = [task_id for task_id in dag_of(tmp_path, names).task_ids if task_id not in ("inputs", "outputs")]
    assert len(set(ids)) == 2
    assert max(map(len, ids)) <= 250
    assert all(task_id.startswith("genome_alignment_and_variant_calling") for task_id in ids)
    assert ids == [task_id for task_id in dag_of(tmp_path, names).task_ids if task_id not in ("inputs", "outputs")]


def test_twenty_long_names_in_each_other_share_the_room() -> None:
    ids, prefix = TaskIds(()), ""
    for level in range(20):
        inside = 19 - level
        prefix += ids.new(prefix, f"{level}_{'x' * 200}", Below(inside * 200, inside)) + "."
    assert len(prefix) <= 251


def test_long_names_with_one_beginning_stay_apart() -> None:
    ids = TaskIds(())
    found = {ids.new("", "s" * 300 + end) for end in ("a", "b", "a")}
    assert len(found) == 3
    assert {len(one) for one in found} == {200}


def test_a_name_that_is_taken_gets_another_one() -> None:
    ids = TaskIds(["inputs"])
    assert [ids.new("", "inputs"), ids.new("", "inputs"), ids.new("g.", "a b")] == ["inputs_", "inputs__", "a_b"]


def test_too_many_groups_are_one_message() -> None:
    with pytest.raises(CwlError) as caught:
        TaskIds(()).new("g.", "step", Below(characters=300, levels=40))
    assert str(caught.value) == (
        "step 'step' is in too many nested sub-workflows: its id would exceed 250 characters\n"
        "  -> bind a sub-workflow that contains it with `fuse: true`, so that it becomes one task"
    )


def test_a_dag_s_default_id_is_the_name_of_a_folder() -> None:
    assert dag_id_of("my flow.v2") == "my_flow.v2"
    long = dag_id_of("é" * 240)
    assert len(long.encode()) <= 200
    assert long == dag_id_of("é" * 240) != dag_id_of("é" * 241)


@pytest.mark.parametrize("name", ["docs/usage.md", "secret.md"])
def test_a_text_that_ends_in_md_is_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.md").write_text("a file of the host")
    (tmp_path / "main.cwl").write_text(
        f"cwlVersion: v1.2\nclass: CommandLineTool\ndoc: {name}\nbaseCommand: [echo, x]\ninputs: []\noutputs: []\n"
    )
    dag = HybridDag(str(tmp_path / "main.cwl"), dag_id="documented")
    from airflow.serialization.serialized_objects import DagSerialization

    kept = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert kept.doc_md == dag.doc_md and str(dag.doc_md).startswith(f"{name}\n\n## Document `main.cwl`\n")
    assert "a file of the host" not in str(dag.doc_md)
