# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shapes of scatters: their jobs, and the combined outputs of these."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, Step


def scatter_dims(step: Step, inputs: Mapping[str, JsonValue]) -> tuple[int, ...]:
    """Sizes of the scatter: one per port for cross products, a single one for dotproduct; ``()`` without scatter.

    :raises InputError: a port is not a list, or lists of a dotproduct differ in length.
    """
    sizes = []
    for name in step.scatter:
        value = inputs.get(name)
        if not isinstance(value, list):
            raise InputError(
                f"step {step.path} scatters over {name}, which is {_kind(value)}, not an array", where=step.position
            )
        sizes.append(len(value))
    if not step.scatter or _crossed(step):
        return tuple(sizes)
    if len(set(sizes)) > 1:
        lengths = ", ".join(f"{name} has {size}" for name, size in zip(step.scatter, sizes, strict=True))
        raise InputError(
            f"step {step.path} scatters over arrays of different lengths (dotproduct): {lengths}", where=step.position
        )
    return (sizes[0],)


def slice_scatter(step: Step, inputs: Mapping[str, JsonValue], lo: int, hi: int) -> dict[str, JsonValue]:
    """The inputs of the jobs with flat indexes ``lo`` to ``hi`` (exclusive), last scatter port fastest.

    The scatter ports become arrays of equal length, whatever the scatter method: for ``Fragment.load(chunked=True)``.
    """
    dims = scatter_dims(step, inputs)
    sliced = dict(inputs)
    if not _crossed(step):
        for name in step.scatter:
            sliced[name] = inputs[name][lo:hi]
        return sliced
    stride = math.prod(dims)
    for name, size in zip(step.scatter, dims, strict=True):
        stride = stride // size if size else 0
        values = inputs[name]
        sliced[name] = [values[index // stride % size] for index in range(lo, min(hi, math.prod(dims)))]
    return sliced


def shape_outputs(step: Step, dims: Sequence[int], flat: Sequence[CwlObject]) -> CwlObject:
    """Job outputs in flat order -> output ports: arrays, nested for a nested cross product.

    :param flat: one object per job; a missing port (of a skipped job) is null.
    """
    if not step.scatter:
        return {port: flat[0].get(port) for port in step.outputs}
    if len(flat) != math.prod(dims):
        raise ValueError(f"{len(flat)} results for a scatter of {tuple(dims)}")
    nested = step.scatter_method == "nested_crossproduct" and len(dims) > 1
    return {
        port: _shaped(iter([item.get(port) for item in flat]), tuple(dims) if nested else (len(flat),))
        for port in step.outputs
    }


def _shaped(values: Any, dims: tuple[int, ...]) -> list[Any]:
    if len(dims) == 1:
        return list(itertools.islice(values, dims[0]))
    return [_shaped(values, dims[1:]) for _ in range(dims[0])]


def _crossed(step: Step) -> bool:
    return len(step.scatter) > 1 and (step.scatter_method or "").endswith("_crossproduct")


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"a {value['class']}" if value.get("class") in ("File", "Directory") else "a record"
    return {bool: "a boolean", int: "an int", float: "a float", str: "a string", list: "an array"}[type(value)]
