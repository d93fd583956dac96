# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a DAG consists of, for pages and commands without a DAG file: its steps, their tasks, and its deployments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_hybrid.model.values import JsonValue
from airflow_hybrid.model.workflow import AskedResources, Target

OUTLINE_VERSION = 1
DAG_OF_RUNNER = "run"
"""id of the DAG of `airflow hybrid run`, which is no name for anybody"""


@dataclass(frozen=True)
class StepOutline:
    """A step of the document.

    :ivar path: ``/variant/train``.
    :ivar kind: ``tool``, ``expression`` or ``workflow``.
    :ivar task_id: of the task that runs it; empty: it is a group of tasks.
    :ivar plan_id: of the task that divides its scatter, or evaluates its ``when``; empty: there is none.
    :ivar shares_task: other steps run in the same task: it is fused, folded, or inside of a fragment.
    :ivar scatter: names of the scattered inputs; ``loop``: it is repeated until a condition is false.
    :ivar conditional: it has a ``when``.
    :ivar targets: where its jobs may run.
    :ivar needs: what its jobs ask for, a line of Markdown each; ``asked``: what its binding asks for in place of that.
    """

    path: str
    kind: str
    task_id: str = ""
    plan_id: str = ""
    shares_task: bool = False
    scatter: tuple[str, ...] = ()
    loop: bool = False
    conditional: bool = False
    label: str = ""
    targets: tuple[Target, ...] = ()
    needs: tuple[str, ...] = ()
    asked: AskedResources | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StepOutline:
        return cls(
            **{
                **value,
                "scatter": tuple(value["scatter"]),
                "targets": tuple(Target(**target) for target in value["targets"]),
                "needs": tuple(value["needs"]),
                "asked": AskedResources.from_json(value.get("asked")),
            }
        )


@dataclass(frozen=True)
class DagOutline:
    """A DAG's steps, outermost first, and where they may run.

    :ivar document: path or URI of the CWL document; ``hybrid_file``: path of the hybrid file, or empty.
    :ivar name: of the document, or of the process that was picked in it; ``label``: that it gives itself, or empty.
    :ivar deployments: by name, as JSON of :class:`airflow_hybrid.config.Deployment`; no secrets are in them.
    :ivar links: as JSON of :class:`airflow_hybrid.config.Link`.
    """

    document: str
    steps: tuple[StepOutline, ...]
    deployments: Mapping[str, JsonValue] = field(default_factory=dict)
    links: JsonValue = None
    hybrid_file: str = ""
    name: str = ""
    label: str = ""

    def title_of(self, dag_id: str) -> str:
        """What a run of the DAG is of, for people: the document's label, or else the DAG's id."""
        return self.label or (self.name if dag_id == DAG_OF_RUNNER else "") or dag_id

    def to_text(self) -> str:
        """As JSON text, the same for the same DAG."""
        return json.dumps({"version": OUTLINE_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> DagOutline:
        """Read a text of :meth:`to_text`.

        :raises ValueError: it is none, or one of another version.
        """
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError(f"not the outline of a DAG: a {type(value).__name__}")
        if value.pop("version", None) != OUTLINE_VERSION:
            raise ValueError("the outline of a DAG was written by another version of airflow_hybrid")
        steps = tuple(StepOutline.from_json(step) for step in value["steps"])
        return cls(**{**value, "steps": steps})

    def step(self, path: str) -> StepOutline | None:
        """The step with a path."""
        return next((step for step in self.steps if step.path == path), None)
