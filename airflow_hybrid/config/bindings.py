# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which binding holds for a step: that of the longest path."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from airflow_hybrid.config.values import DEFAULT_BINDING
from airflow_hybrid.model import Binding, Checkpoint, Step
from airflow_hybrid.model.locations import STORES, scheme_of


class Bindings(tuple[Binding, ...]):
    """The bindings of a workflow, which are found by a step's path without a look at each of them."""

    @functools.cached_property
    def by_path(self) -> dict[str, Binding]:
        """Of two with the same path, the first one."""
        return {_key(binding.path): binding for binding in reversed(self)}

    def above(self, path: str) -> Iterator[Binding]:
        """The bindings of ``path`` and of the steps around it, nearest first."""
        key = _key(path)
        while True:
            if key in self.by_path:
                yield self.by_path[key]
            if not key:
                return
            key = key.rpartition("/")[0]

    def of(self, step: Step) -> Bindings:
        """Those that may hold for a step, or for a step in it: a task is not told of all others."""
        inner = step.workflow.walk() if step.workflow is not None else []
        found = [*self.above(step.path), *(b for part in inner for b in self.above(part.path))]
        return Bindings({id(binding): binding for binding in found}.values())


def bind(bindings: Iterable[Binding], step_path: str) -> Binding:
    """Return the binding of the longest path that is ``step_path`` or above it; by default, this machine."""
    known = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    return next(known.above(step_path), DEFAULT_BINDING)


def _key(path: str) -> str:
    return path.rstrip("/")


def checkpoint_of(bindings: Iterable[Binding], of_workflow: Checkpoint | None, step_path: str) -> Checkpoint | None:
    """Where the outputs of a step's jobs are copied to; None: nowhere."""
    of_step = bind(bindings, step_path).checkpoint
    checkpoint = of_workflow if of_step is None else of_step
    return checkpoint if checkpoint is not None and checkpoint.target else None


def is_store(target: str) -> bool:
    """Whether a checkpoint's target is a URL of an object store."""
    return "://" in target and scheme_of(target) in STORES


def no_deployment(name: str) -> str:
    """The message for a name that no deployment has."""
    return f"there is no deployment `{name}`"
