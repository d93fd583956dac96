# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a deferred task ended: what its trigger tells a worker that ends the task for it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.errors import HybridError, error_from_json


class EndState(enum.StrEnum):
    """Ends of a task."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended.

    :ivar error: why it failed.
    :ivar timed_out: whether it failed because its time limit was reached.
    :ivar recovered: whether files were made again already in this try, before it failed because files are lost.
    :ivar result: the task's XComs by key, where the trigger has no task instance to publish them for: in
        `airflow dags test`, which runs triggers by itself. None: they are published.
    """

    state: EndState
    error: HybridError | None = None
    timed_out: bool = False
    result: Mapping[str, Any] | None = None
    recovered: bool = False

    def to_json(self) -> dict[str, Any]:
        error = None if self.error is None else self.error.to_json()
        result = {} if self.result is None else {"result": dict(self.result)}
        recovered = {"recovered": True} if self.recovered else {}
        return {"state": self.state.value, "error": error, "timed_out": self.timed_out, **recovered, **result}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TaskEnd:
        error = None if value["error"] is None else error_from_json(value["error"])
        return cls(
            EndState(value["state"]), error, bool(value["timed_out"]), value.get("result"), bool(value.get("recovered"))
        )
