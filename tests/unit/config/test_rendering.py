# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Templates among the native options of services."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from airflow_hybrid.config import Deployment, load_hybrid_file
from airflow_hybrid.config.rendering import rendered_deployments
from airflow_hybrid.errors import ConfigError, InputError

VALUES = {"ds": "2026-01-02", "cores": 3, "line": "a\n#SBATCH --uid=0"}


def render(template: str) -> str:
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(VALUES)


def options(kind: str = "slurm", **values: Any) -> dict[str, Any]:
    deployment = Deployment("hpc", kind, {"services": {"main": values}})
    rendered = rendered_deployments({"hpc": deployment}, render)["hpc"]
    return dict(rendered.config["services"]["main"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"comment": "of {{ ds }}"}, {"comment": "of 2026-01-02"}),
        ({"cpusPerTask": "{{ cores }}"}, {"cpusPerTask": 3}),
        ({"options": {"licenses": "x:{{ cores }}"}}, {"options": {"licenses": "x:3"}}),
        ({"file": "/templates/{{ ds }}.sh", "comment": "a"}, {"file": "/templates/{{ ds }}.sh", "comment": "a"}),
    ],
)
def test_options_are_rendered_and_typed(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert options(**given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"cpusPerTask": "{{ ds }}"},
            "deployment 'hpc', service 'main', option `cpusPerTask`: its template was rendered, and the value must be"
            " an integer, not '2026-01-02'",
        ),
        (
            {"comment": "{{ line }}"},
            "deployment 'hpc', service 'main', option `comment`: its template was rendered, and the value must not"
            " have line breaks or other control characters: 'a\\n#SBATCH --uid=0'",
        ),
    ],
)
def test_a_value_that_the_option_cannot_have_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(**given)
    assert str(caught.value) == message


def test_where_a_template_cannot_be_rendered_is_said() -> None:
    def fail(template: str) -> str:
        raise InputError(f"the template `{template}` cannot be rendered")

    deployment = Deployment("hpc", "pbs", {"services": {"main": {"account": "{{ nobody }}"}}})
    with pytest.raises(InputError) as caught:
        rendered_deployments({"hpc": deployment}, fail)
    assert str(caught.value) == (
        "deployment 'hpc', service 'main', option `account`: the template `{{ nobody }}` cannot be rendered"
    )


def test_deployments_without_templates_stay_as_they_are() -> None:
    deployment = Deployment("hpc", "slurm", {"services": {"main": {"comment": "a"}}})
    assert rendered_deployments({"hpc": deployment}, render)["hpc"] is deployment


def test_a_hybrid_file_may_have_templates_whatever_the_type_of_the_option(tmp_path: Any) -> None:
    (tmp_path / "main.cwl").write_text("cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: []\n")
    file = tmp_path / "streamflow.yml"
    file.write_text(
        "version: v1.0\nworkflows: {w: {type: cwl, config: {file: main.cwl}}}\n"
        "deployments:\n  hpc: {type: slurm, config: {services: {main: {cpus-per-task: '{{ params.cores }}'}}}}\n"
    )
    hybrid = load_hybrid_file(file, cache_dir=str(tmp_path / "cache"))
    assert hybrid.deployments["hpc"].config["services"] == {"main": {"cpusPerTask": "{{ params.cores }}"}}
