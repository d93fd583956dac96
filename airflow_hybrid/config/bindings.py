# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which binding holds for a step: that of the longest path."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

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


def checkpoints_of_step(bindings: Iterable[Binding], of_workflow: Checkpoint | None, step_path: str) -> StepCheckpoints:
    """Where the outputs of a step's jobs are copied to."""
    binding = bind(bindings, step_path)
    ports = binding.ports if _key(binding.path) == _key(step_path) else {}
    return StepCheckpoints(checkpoint_of(bindings, of_workflow, step_path), ports)


@dataclass(frozen=True)
class StepCheckpoints:
    """Where the outputs of a step are copied to.

    :ivar of_step: those that have no checkpoint of their own; ``of_ports``: the others, by name.
    """

    of_step: Checkpoint | None
    of_ports: Mapping[str, Checkpoint] = field(default_factory=dict)

    def of(self, port: str) -> Checkpoint | None:
        """That of an output; None: it is not copied."""
        checkpoint = self.of_ports.get(port, self.of_step)
        return checkpoint if checkpoint is not None and checkpoint.target else None

    @property
    def all(self) -> tuple[Checkpoint, ...]:
        """All places."""
        places = (self.of_step, *self.of_ports.values())
        return tuple(dict.fromkeys(place for place in places if place is not None and place.target))


def is_store(target: str) -> bool:
    """Whether a checkpoint's target is a URL of an object store."""
    return "://" in target and scheme_of(target) in STORES


def no_deployment(name: str) -> str:
    """The message for a name that no deployment has."""
    return f"there is no deployment `{name}`"
