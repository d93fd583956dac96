# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the hybrid file says about failed jobs in `on` of a binding."""

from __future__ import annotations

import json

import pytest

from airflow_hybrid.config import parse_bindings
from airflow_hybrid.config.values import EXCLUDING_TYPES, QUEUE_TYPES
from airflow_hybrid.model import Binding, FailureRule, Growth
from airflow_hybrid.model.failure_rules import rule_for
from airflow_hybrid.sites.connectors.clusters import scheduler_class
from tests.unit.config.conftest import Load, Problems

FILE = """\
workflows:
  w:
    type: cwl
    config: {file: a.cwl}
    bindings:
      - {step: /, target: DEPLOYMENT, on: ON}
      - {step: /a, retries: 1}
deployments:
  here: {type: local, config: {}}
  cluster: {type: slurm, config: {}}
"""
RULES = (
    FailureRule(state="OUT_OF_MEMORY", memory=Growth(factor=2.0), at_most=2),
    FailureRule(state="TIMEOUT", walltime=Growth(amount=14400)),
    FailureRule(state="NODE_FAIL", exclude_node=True),
    FailureRule(state="PREEMPTED"),
    FailureRule(exit_code=137, memory=Growth(amount=8192)),
)
WRITTEN = """{OUT_OF_MEMORY: {memory: x2, at_most: 2}, TIMEOUT: {walltime: 4h}, NODE_FAIL: {exclude_node: true},
        PREEMPTED: resubmit, exit: {137: {memory: 8192}}}"""


def text(on: str, deployment: str = "cluster") -> str:
    return FILE.replace("ON", on).replace("DEPLOYMENT", deployment)


def test_rules_are_read_and_inherited(load: Load) -> None:
    above, below = load(text(WRITTEN)).workflows["w"].bindings
    assert above.on == below.on == RULES
    assert Binding.from_json(json.loads(json.dumps(above.to_json()))) == above


def test_python_takes_the_same(load: Load) -> None:
    on = {"exit": {137: {"memory": 8192}}, "PREEMPTED": "resubmit"}
    (binding,) = parse_bindings({"/": {"on": on}})
    assert set(binding.on) == {RULES[3], RULES[4]}
    assert parse_bindings([binding])[0].on == binding.on


@pytest.mark.parametrize(
    ("on", "problem"),
    [
        ("{}", ["7: K: `on` is empty", "-> write a rule: `on: {OUT_OF_MEMORY: {memory: x2}}`"]),
        ("{TIMEOT: resubmit}", ["7: K.TIMEOT: unknown key `TIMEOT`", "-> did you mean `TIMEOUT`?"]),
        (
            "{TIMEOUT: again}",
            ["7: K.TIMEOUT: must be a rule, not 'again'", "-> write `resubmit`, or `{memory: x2, at_most: 3}`"],
        ),
        (
            "{TIMEOUT: {memory: 2x}}",
            ["7: K.TIMEOUT.memory: must be a factor or a number of MiB, not '2x'", "-> write x2, or 8192"],
        ),
        (
            "{TIMEOUT: {memory: x1}}",
            ["7: K.TIMEOUT.memory: `x1` must be more than x1, and x10 at most", "-> write x2, for example"],
        ),
        (
            "{TIMEOUT: {walltime: soon}}",
            ["7: K.TIMEOUT.walltime: must be a factor or a duration, not 'soon'", "-> write x2, or 4h"],
        ),
        ("{TIMEOUT: {at_most: 0}}", ["7: K.TIMEOUT.at_most: input should be greater than or equal to 1, got 0"]),
        (
            "{exit: {0: resubmit}}",
            ["7: K.exit.0: '0' is no exit code of a failure", "-> they are numbers from 1 to 255"],
        ),
        (
            "{exit: {0: resubmit, 137: {memory: 2x}, 300: again}}",
            [
                "7: K.exit.0: '0' is no exit code of a failure",
                "-> they are numbers from 1 to 255",
                "7: K.exit.137.memory: must be a factor or a number of MiB, not '2x'",
                "-> write x2, or 8192",
                "7: K.exit.300: '300' is no exit code of a failure",
                "-> they are numbers from 1 to 255",
                "7: K.exit.300: must be a rule, not 'again'",
                "-> write `resubmit`, or `{memory: x2, at_most: 3}`",
            ],
        ),
        (
            "{exit: 137}",
            ["7: K.exit: `exit` takes a rule for each exit code", "-> write `exit: {137: {memory: x2}}`"],
        ),
    ],
)
def test_rules_that_say_nothing_are_errors(problems: Problems, on: str, problem: list[str]) -> None:
    assert problems(text(on)) == [line.replace("K", "workflows.w.bindings[0].on") for line in problem]


def test_only_some_queue_systems_can_leave_out_a_node(problems: Problems) -> None:
    assert problems(text("{NODE_FAIL: {exclude_node: true}}", "here")) == [
        "7: workflows.w.bindings[0]: `exclude_node` is not possible for `here`, which is of type `local`",
        "-> leave it out, or bind / to slurm",
    ]


def test_a_job_that_the_kernel_ended_has_the_exit_code_that_its_tool_would_have() -> None:
    by_state, by_code = RULES[0], RULES[4]
    assert rule_for([by_code], "OUT_OF_MEMORY", None) is by_code
    assert rule_for([by_code, by_state], "OUT_OF_MEMORY", None) is by_state
    assert rule_for([by_state, by_code], "OUT_OF_MEMORY", 137) is by_code
    assert rule_for([by_code], "CANCELLED", None) is None


@pytest.mark.parametrize("kind", QUEUE_TYPES)
def test_the_types_that_can_are_those_whose_schedulers_say_so(kind: str) -> None:
    scheduler = scheduler_class(kind)
    assert scheduler is not None and scheduler.excludes_nodes == (kind in EXCLUDING_TYPES)
