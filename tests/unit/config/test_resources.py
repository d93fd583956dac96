# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``resources`` of a binding: what the jobs of its steps ask for in place of what the document says."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.config import parse_bindings
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import AskedResources, Binding, Resources


def test_each_value_is_inherited_by_itself() -> None:
    root, a, b = parse_bindings(
        [
            {"step": "/", "target": "local", "resources": {"coresMin": 2, "timelimit": 60}},
            {"step": "/a", "resources": {"ramMin": 512, "timelimit": "2m"}},
            {"step": "/b", "target": "local"},
        ]
    )
    assert root.resources == AskedResources(cores=2, walltime_s=60)
    assert a.resources == AskedResources(cores=2, ram_mib=512, walltime_s=120)
    assert b.resources == root.resources


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ({}, "`resources` is empty\n  -> write `coresMin`, `ramMin` or `timelimit`: `resources: {ramMin: 2048}`"),
        ({"ramMin": 0}, "resources.ramMin: input should be greater than 0, got 0"),
        (
            {"timelimit": "soon"},
            "resources.timelimit: must be a duration of a second or more, not 'soon'\n"
            "  -> write 4h, or the number of seconds",
        ),
        ({"timelimit": 0}, "resources.timelimit: must be a duration of a second or more, not 0\n"),
        ({"timelimit": True}, "resources.timelimit: must be a duration of a second or more, not True\n"),
        ({"ram": 5}, "unknown key `ram`\n  -> did you mean `ramMin`?"),
    ],
)
def test_what_is_wrong_is_said(resources: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bindings([{"step": "/a", "target": "local", "resources": resources}])
    assert problem in str(caught.value)


def test_a_binding_goes_to_json_and_through_the_python_api() -> None:
    (binding,) = parse_bindings([{"step": "/a", "target": "local", "resources": {"coresMin": 1.5}}])
    assert Binding.from_json(binding.to_json()) == binding
    assert parse_bindings([binding])[0].resources == AskedResources(cores=1.5)


def test_only_the_values_that_it_has_are_replaced() -> None:
    documented = Resources(cores=4, ram_mib=8192, explicit=frozenset({"cores"}))
    asked = documented.with_asked(AskedResources(ram_mib=512).values)
    assert (asked.cores, asked.ram_mib, asked.walltime_s) == (4, 512, None)
    assert asked.explicit == {"cores", "ram_mib"}
