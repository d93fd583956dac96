# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of a binding's ``on``: which failed jobs the same try submits again, and what they ask for then."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from airflow_hybrid.config.base import Model, seconds_of, wrong
from airflow_hybrid.model import FailureRule, Growth
from airflow_hybrid.model.failure_rules import AT_MOST

MOST_TIMES = 10
"""of ``at_most``, and the largest factor"""
_EXIT_CODE = re.compile(r"[1-9][0-9]{0,2}")


def _factor(value: Any) -> Growth | None:
    """``x2``, ``x1.5``; None: it is something else."""
    match = re.fullmatch(r"x([0-9]{1,3}(?:\.[0-9]{1,3})?)", value) if isinstance(value, str) else None
    if match is None:
        return None
    factor = float(match[1])
    if not 1 < factor <= MOST_TIMES:
        raise wrong(f"`{value}` must be more than x1, and x{MOST_TIMES} at most", "write x2, for example")
    return Growth(factor=factor)


def _memory(value: Any) -> Any:
    if (growth := _factor(value)) is not None:
        return growth
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Growth(amount=value)
    raise wrong(f"must be a factor or a number of MiB, not {value!r}", "write x2, or 8192")


def _walltime(value: Any) -> Any:
    if (growth := _factor(value)) is not None:
        return growth
    seconds = seconds_of(value)
    if seconds < 1:
        raise wrong(f"must be a factor or a duration, not {value!r}", "write x2, or 4h")
    return Growth(amount=seconds)


class FailureRuleModel(Model):
    """How often a job is submitted again, and what it asks for then; `resubmit`: the same. (airflow_hybrid)"""

    at_most: int = Field(
        AT_MOST, ge=1, le=MOST_TIMES, description="How often the rule submits a job again, in all tries of its task."
    )
    memory: Annotated[Growth | None, BeforeValidator(_memory, json_schema_input_type=int | str)] = Field(
        None, description="`x2`: twice the memory that the job asked for last; `8192`: so many MiB."
    )
    walltime: Annotated[Growth | None, BeforeValidator(_walltime, json_schema_input_type=float | str)] = Field(
        None, description="`x2`: twice its last time limit; `4h`: that limit."
    )
    exclude_node: bool = Field(
        False, description="It does not run again on the nodes where it failed so (`slurm` deployments)."
    )

    def rule(self, **about: Any) -> FailureRule:
        """The value; ``about``: the state or the exit code."""
        return FailureRule(
            at_most=self.at_most, memory=self.memory, walltime=self.walltime, exclude_node=self.exclude_node, **about
        )


def _as_rule(value: Any) -> Any:
    if value == "resubmit":
        return {}
    if not isinstance(value, dict | FailureRuleModel):
        raise wrong(f"must be a rule, not {value!r}", "write `resubmit`, or `{memory: x2, at_most: 3}`")
    return value


Rule = Annotated[FailureRuleModel, BeforeValidator(_as_rule, json_schema_input_type=str | FailureRuleModel)]


def _exit_code(code: Any) -> str:
    if not _EXIT_CODE.fullmatch(str(code)) or int(code) > 255:
        raise wrong(f"{code!r} is no exit code of a failure", "they are numbers from 1 to 255")
    return str(code)


def _by_exit_code(value: Any) -> Any:
    if not isinstance(value, dict):
        raise wrong("`exit` takes a rule for each exit code", "write `exit: {137: {memory: x2}}`")
    return value


ExitCode = Annotated[str, BeforeValidator(_exit_code)]
"""each is judged by itself, so that a wrong one does not hide what else is wrong"""


class OnModel(Model):
    """Rules for failed jobs: the jobs that one is about are submitted again in the same try. (airflow_hybrid)"""

    OUT_OF_MEMORY: Rule | None = Field(None, description="Jobs that were ended because they used too much memory.")
    TIMEOUT: Rule | None = Field(None, description="Jobs that ran into a time limit, of the queue or of the document.")
    NODE_FAIL: Rule | None = Field(None, description="Jobs whose node failed.")
    PREEMPTED: Rule | None = Field(None, description="Jobs that had to make room for others.")
    LOST: Rule | None = Field(None, description="Jobs that neither the queue nor the accounting knows any more.")
    exit: Annotated[dict[ExitCode, Rule], BeforeValidator(_by_exit_code)] = Field(
        default_factory=dict, description="Jobs with these exit codes; a rule here comes before one for a state."
    )

    @model_validator(mode="after")
    def _is_not_empty(self) -> OnModel:
        if not self.rules:
            raise wrong("`on` is empty", "write a rule: `on: {OUT_OF_MEMORY: {memory: x2}}`")
        return self

    @property
    def rules(self) -> tuple[FailureRule, ...]:
        """The values of the rules."""
        states = {name: getattr(self, name) for name in type(self).model_fields if name != "exit"}
        of_states = [model.rule(state=name) for name, model in states.items() if model is not None]
        return (*of_states, *(model.rule(exit_code=int(code)) for code, model in self.exit.items()))


def written(rules: tuple[FailureRule, ...]) -> dict[str, Any]:
    """Rules as they are written in a hybrid file."""
    states = {rule.state: _written(rule) for rule in rules if rule.state is not None}
    codes = {str(rule.exit_code): _written(rule) for rule in rules if rule.exit_code is not None}
    return {**states, **({"exit": codes} if codes else {})}


def _written(rule: FailureRule) -> dict[str, Any]:
    said: dict[str, Any] = {"at_most": rule.at_most, "exclude_node": rule.exclude_node}
    for name, growth in (("memory", rule.memory), ("walltime", rule.walltime)):
        if growth is not None:
            said[name] = growth.amount if growth.factor is None else f"x{growth.factor:g}"
    return said
