# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What cwltool's libraries do again and again: without these changes, loading a document takes time that grows with the
square of its steps, or several milliseconds more per step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import cwltool.process
import cwltool.workflow
from ruamel.yaml.comments import CommentedSeq
from schema_salad.avro.schema import Names
from schema_salad.schema import make_avro_schema


def install() -> None:
    """Change the libraries' modules; :func:`airflow_hybrid.cwl.adapt.prepare` calls it once per process."""
    setattr(CommentedSeq, "__deepcopy__", _copied)  # noqa: B010 - another's name
    # cwltool's check is recursive, and compares all steps with each other. A graph is checked when it is sorted
    # (airflow_hybrid.cwl.documents.graph).
    setattr(cwltool.workflow, "circular_dependency_checker", lambda step_inputs: None)  # noqa: B010
    setattr(cwltool.process, "make_avro_schema", _made_once(make_avro_schema))  # noqa: B010


def _copied(sequence: CommentedSeq, memo: Any) -> CommentedSeq:
    """Ruamel copies the positions of all items of a list once per item."""
    result = type(sequence)()
    memo[id(sequence)] = result
    for item in sequence:
        result.append(copy.deepcopy(item, memo))
    if len(sequence):
        sequence.copy_attributes(result, memo=memo)
    return result


def _made_once(make: Callable[..., Names]) -> Callable[..., Names]:
    """Cwltool parses the same three types (File, Directory, Any) for every process of a document.

    They are only read; a process adds its own types to its table of names.
    """
    made: dict[tuple[int, ...], tuple[list[Any], Names]] = {}

    def names_of(types: list[Any], *arguments: Any) -> Names:
        key = tuple(id(kind) for kind in types)
        if key not in made:
            made[key] = (types, make(types, *arguments))  # the types stay alive, and so their ids remain theirs
        names = Names()
        names.names.update(made[key][1].names)
        return names

    return names_of
