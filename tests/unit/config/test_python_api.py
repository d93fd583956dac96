# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The hybrid file's twin in Python: ``HybridDag(bindings=..., deployments=..., links=...)``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import (
    Deployment,
    Link,
    check_bindings,
    parse_bindings,
    parse_deployments,
    parse_links,
)
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Binding, Target


@pytest.mark.parametrize(
    "bindings",
    [
        [{"step": "/a", "target": {"deployment": "d", "service": "s"}}],
        {"/a": {"deployment": "d", "service": "s"}},
        {"/a": [{"deployment": "d", "service": "s"}]},
        {"/a": Target("d", "s")},
        {"/a": {"target": {"deployment": "d", "service": "s"}}},
    ],
)
def test_bindings_have_the_files_shape_or_map_steps_to_targets(bindings: Any) -> None:
    assert parse_bindings(bindings) == (Binding("/a", (Target("d", "s"),)),)


def test_a_plain_name_binds_the_whole_workflow() -> None:
    assert parse_bindings("hpc") == (Binding("/", (Target("hpc"),)),)


def test_options_stand_beside_the_target() -> None:
    (binding,) = parse_bindings({"/a": {"target": "d", "scatter": "batch", "max_mapped": 3, "fuse": True}})
    assert binding == Binding("/a", (Target("d"),), scatter="batch", max_mapped=3, fuse=True)


@pytest.mark.parametrize("bindings", [None, (), [], {}])
def test_no_bindings_are_none(bindings: Any) -> None:
    assert parse_bindings(bindings) == ()


def test_parsed_values_pass_through_without_pydantic() -> None:
    code = (
        "import sys; from airflow_hybrid.config import *; from airflow_hybrid.model import *;"
        "b = (Binding('/a', (Target('local'),)),);"
        "assert parse_bindings(b) == b; assert 'd' in parse_deployments({'d': Deployment('d', 'local')});"
        "assert parse_links((Link('a', 'b'),)) == [Link('a', 'b').to_json()];"
        "check_bindings(b, parse_deployments(None), ['/a']); print('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_mistake_in_a_binding_names_its_path() -> None:
    with pytest.raises(ConfigError) as e:
        parse_bindings({"/a": {"deploymnt": "d"}})
    assert str(e.value) == (
        "workflows.python.bindings[0].target.deploymnt: unknown key `deploymnt`\n  -> did you mean `deployment`?"
    )


def test_deployments_have_the_files_shape(tmp_path: Path) -> None:
    found = parse_deployments({"a": {"type": "local", "workdir": "x"}}, base_dir=str(tmp_path))
    assert found["a"] == Deployment("a", "local", workdir=f"{tmp_path}/x")
    assert set(found) == {"a", "local"}


def test_parsed_deployments_may_be_referred_to_by_new_ones() -> None:
    login = Deployment("login", "ssh", {"nodes": [{"hostname": "h"}]})
    found = parse_deployments({"login": login, "hpc": {"type": "slurm", "wraps": "login"}})
    assert found["login"] is login
    assert found["hpc"].wraps == "login"


def test_a_mistake_in_a_deployment_names_its_path() -> None:
    with pytest.raises(ConfigError) as e:
        parse_deployments({"a": {"type": "slurm", "wraps": "b"}})
    assert str(e.value) == "deployments.a.wraps: there is no deployment `b`\n  -> declared: a, local"
    with pytest.raises(ConfigError) as e:
        parse_deployments(["a"])
    assert str(e.value) == "deployments: must be a mapping, not a list"


def test_links_are_json_per_direction() -> None:
    both = parse_links([["a", "b"]])
    assert [(link["source"], link["target"]) for link in both] == [("a", "b"), ("b", "a")]
    assert parse_links(tuple(Link(**link) for link in both)) == both
    assert parse_links(None) == []


def test_bindings_that_name_nothing_are_told_at_once_with_the_nearest_name() -> None:
    bindings = (
        Binding("/trian", (Target("hpc"),), position="f.yml:3: workflows.w.bindings[0].step"),
        Binding("/train", (Target("hcp"),)),
        Binding("/", (Target("hpc", "gpus"), Target("local"))),
    )
    deployments = {"hpc": Deployment("hpc", "slurm", {"services": {"gpu": {}}})}
    with pytest.raises(ConfigError) as e:
        check_bindings(bindings, deployments, ["/train", "/report"], where="dag.py")
    assert str(e.value).splitlines() == [
        "dag.py: 3 problems in the bindings",
        "  f.yml:3: workflows.w.bindings[0].step: the workflow has no step `/trian`",
        "    -> did you mean `/train`?",
        "  dag.py: /train: there is no deployment `hcp`",
        "    -> did you mean `hpc`?",
        "  dag.py: /: deployment `hpc` has no service `gpus`",
        "    -> did you mean `gpu`?",
    ]


def test_one_binding_that_names_nothing_is_one_line_and_advice() -> None:
    with pytest.raises(ConfigError) as e:
        check_bindings((Binding("/x", (Target("local"),), position="f.yml:3: p"),), {}, ["/a", "/b"])
    assert str(e.value) == "f.yml:3: p: the workflow has no step `/x`\n  -> there are: /a, /b"
