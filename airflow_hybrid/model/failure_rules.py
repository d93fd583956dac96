# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The rules of a binding's ``on``: which failed jobs the same try submits again, and what they ask for then."""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.model.values import JsonValue

MOST = 1 << 40
"""of an amount: more than any site has"""
AT_MOST = 3
"""how often a job is submitted again by one rule, by default"""
CODE_OF: Mapping[str, int] = {"TIMEOUT": 124, "OUT_OF_MEMORY": 128 + signal.SIGKILL}
"""exit codes of jobs without one, by the state in which somebody else ended them; as the runner gives them"""


@dataclass(frozen=True)
class Growth:
    """Another amount of something: so many times the last one, or a fixed one if that is more.

    >>> Growth(factor=1.5).after(1000), Growth(amount=4096).after(None), Growth(factor=2.0).after(None)
    (1500, 4096, None)
    >>> Growth(amount=4096).after(65536)
    65536

    :ivar factor: more than 1; ``amount``: in MiB or seconds. One of them is None.
    """

    factor: float | None = None
    amount: int | None = None

    def after(self, last: int | None) -> int | None:
        """The next amount.

        :param last: the last one; None: there was none.
        :return: None: what does not exist cannot be multiplied.
        """
        if self.factor is None:
            return self.amount if self.amount is None or last is None else max(self.amount, last)
        return None if last is None else min(MOST, math.ceil(last * self.factor))


@dataclass(frozen=True)
class FailureRule:
    """What is done with a job that failed in one way.

    :ivar state: the state that it is about (:class:`airflow_hybrid.model.JobState`); None: it is about exit codes.
    :ivar exit_code: the exit code that it is about, whatever the state; None: it is about a state.
    :ivar at_most: how often the rule submits a job again; later failures of that kind are judged as without a rule.
    :ivar memory: and ``walltime``, that the job asks for then; None: the same.
    :ivar exclude_node: it is not to run again on the node where it failed.
    """

    state: str | None = None
    exit_code: int | None = None
    at_most: int = AT_MOST
    memory: Growth | None = None
    walltime: Growth | None = None
    exclude_node: bool = False

    @property
    def name(self) -> str:
        """As the hybrid file has it: ``on: OUT_OF_MEMORY``, ``on: exit: 137``."""
        return f"on: exit: {self.exit_code}" if self.state is None else f"on: {self.state}"

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FailureRule:
        grown = {name: None if value.get(name) is None else Growth(**value[name]) for name in ("memory", "walltime")}
        return cls(**{**value, **grown})


def rule_for(rules: Iterable[FailureRule], state: str, exit_code: int | None) -> FailureRule | None:
    """The rule about a failed job: that of its exit code, or else that of its state, or that of the state's exit code.

    :param state: how it ended; ``exit_code``: None if it had none, or none that counts.
    """
    known = tuple(rules)
    counted_as = CODE_OF.get(state) if exit_code is None else exit_code
    by_code = next((rule for rule in known if rule.exit_code is not None and rule.exit_code == counted_as), None)
    by_state = next((rule for rule in known if rule.state is not None and rule.state == state), None)
    return by_state or by_code if exit_code is None else by_code or by_state
