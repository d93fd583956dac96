# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``checkpoint`` of a workflow and of bindings: where finished outputs are copied to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid import HybridDag
from airflow_hybrid.config import (
    HybridFile,
    checkpoint_of,
    checkpoints_of_step,
    load_hybrid_file,
    parse_bindings,
    parse_checkpoint,
)
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import KEPT_S, Binding, Checkpoint
from tests.raising import raising

HERE = {"type": "local", "workdir": "/scratch"}
MADE = {"type": "docker", "config": {"image": "alpine"}}
TOOL = "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}"


def _file(folder: Path, bindings: list[dict[str, Any]], **workflow: Any) -> Path:
    (folder / "t.cwl").write_text(TOOL)
    path = folder / "streamflow.yml"
    one = {"type": "cwl", "config": {"file": "t.cwl"}, "bindings": bindings, **workflow}
    deployments = {"here": HERE, "archive": HERE, "made": MADE}
    path.write_text(yaml.safe_dump({"version": "v1.0", "workflows": {"one": one}, "deployments": deployments}))
    return path


def test_the_longest_path_decides_then_the_workflow(tmp_path: Path) -> None:
    bindings: list[dict[str, Any]] = [
        {"step": "/", "target": "here"},
        {"step": "/a", "checkpoint": {"target": "here", "expire": "7d"}},
        {"step": "/a/b", "checkpoint": False},
        {"step": "/c", "checkpoint": {"target": "archive", "expire": "never"}},
        {"step": "/d", "checkpoint": "s3://store@bucket/kept"},
    ]
    hybrid = load_hybrid_file(_file(tmp_path, bindings, checkpoint="archive"))
    workflow = HybridFile.from_json(hybrid.to_json()).workflows["one"]
    paths = ("/x", "/a/y", "/a/b", "/c", "/d")
    found = {path: checkpoint_of(workflow.bindings, workflow.checkpoint, path) for path in paths}
    assert found == {
        "/x": Checkpoint("archive", KEPT_S),
        "/a/y": Checkpoint("here", 7 * 86400.0),
        "/a/b": None,
        "/c": Checkpoint("archive", None),
        "/d": Checkpoint("s3://store@bucket/kept", KEPT_S),
    }


def test_a_binding_goes_to_json_and_through_the_python_api() -> None:
    (binding,) = parse_bindings([{"step": "/a", "target": "local", "checkpoint": "archive"}])
    assert Binding.from_json(binding.to_json()) == binding
    assert parse_bindings([binding])[0].checkpoint == parse_checkpoint("archive") == Checkpoint("archive", KEPT_S)
    assert parse_checkpoint(False) == Checkpoint("") and parse_checkpoint(None) is None


@pytest.mark.parametrize(
    ("checkpoint", "problem"),
    [
        (True, "must be a deployment, a URL or false, not true\n  -> write its name: `checkpoint: archive`"),
        ({"target": "archive", "expire": "10s"}, "must be a minute or more\n  -> write 30d, or `never`"),
        ({"to": "archive"}, "unknown key `to`\n"),
        ("", "must not be empty"),
    ],
)
def test_what_is_wrong_is_said(checkpoint: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_checkpoint(checkpoint)
    assert problem in str(caught.value)


def test_a_name_that_no_deployment_has_is_refused_at_its_line(tmp_path: Path) -> None:
    binding = {"step": "/", "target": "here", "checkpoint": {"target": "archiv"}}
    path = _file(tmp_path, [binding], checkpoint="https://example.org/kept")
    with pytest.raises(ConfigError) as caught:
        load_hybrid_file(path)
    lines = [line.strip().partition("streamflow.yml:")[2] for line in str(caught.value).splitlines()]
    assert [line for line in lines if line] == [
        " 2 problems",
        "15: workflows.one.bindings[0].checkpoint.target: there is no deployment `archiv`",
        "18: workflows.one.checkpoint: there is no deployment `https://example.org/kept`",
    ]


@pytest.mark.parametrize("of_workflow", [True, False])
def test_a_deployment_that_is_removed_with_the_run_is_no_place_for_checkpoints(
    tmp_path: Path, of_workflow: bool
) -> None:
    (tmp_path / "t.cwl").write_text(TOOL)
    where = str(tmp_path / "d.py")
    binding = {"step": "/", "target": "here"} if of_workflow else {"step": "/", "checkpoint": "made", "target": "here"}
    at = where if of_workflow else "workflows.python.bindings[0].step"
    problem = "`checkpoint`: deployment `made` is made for each run, and removed with what is in it"
    with raising(ConfigError, f"{at}: {problem}\n  -> there are: here, local"):
        HybridDag(
            str(tmp_path / "t.cwl"),
            deployments={"here": HERE, "made": MADE},
            bindings=[binding],
            checkpoint="made" if of_workflow else None,
            fileloc=where,
        )


def test_an_output_may_have_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    bindings: list[dict[str, Any]] = [
        {"step": "/", "target": "here", "checkpoint": "archive"},
        {"port": "/a/large", "checkpoint": False},
        {"port": "/a/b/model", "checkpoint": {"target": "here", "expire": "never"}},
    ]
    hybrid = load_hybrid_file(_file(tmp_path, bindings))
    workflow = HybridFile.from_json(hybrid.to_json()).workflows["one"]
    found = {}
    for path in ("/a", "/a/b"):
        step = checkpoints_of_step(workflow.bindings, workflow.checkpoint, path)
        found[path] = {port: step.of(port) for port in ("large", "model")}
    archive, for_good = Checkpoint("archive", KEPT_S), Checkpoint("here", None)
    assert found == {"/a": {"large": None, "model": archive}, "/a/b": {"large": archive, "model": for_good}}
    assert [binding.targets[0].deployment for binding in workflow.bindings] == ["here"] * 3
    assert workflow.ports == ()


@pytest.mark.parametrize(
    ("binding", "problem"),
    [
        ({"port": "/a/b"}, "a port has a `target` or a `checkpoint`"),
        ({"port": "/a", "checkpoint": "archive"}, "is for outputs of steps: write `/step/output`, not `/a`"),
        ({"port": "/a/b", "checkpoint": "archiv"}, "there is no deployment `archiv`"),
    ],
)
def test_what_is_wrong_with_a_port_is_said(tmp_path: Path, binding: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_hybrid_file(_file(tmp_path, [binding]))
    assert problem in str(caught.value)


def test_an_output_that_the_step_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.cwl").write_text(TOOL)
    bindings = [{"step": "/", "target": "here"}, {"port": "/t/model", "checkpoint": "here"}]
    with pytest.raises(ConfigError) as caught:
        HybridDag(
            str(tmp_path / "t.cwl"), deployments={"here": HERE}, bindings=bindings, fileloc=str(tmp_path / "d.py")
        )
    assert caught.value.where == "workflows.python.bindings[1].port"
    assert caught.value.message == "`checkpoint`: step `/t` has no output `model`"
