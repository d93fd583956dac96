# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Steps share a task only where nothing has to wait longer for it, whatever the graph."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_hybrid.dag.grouping import groups

Graph = tuple[list[str], dict[str, list[str]], dict[str, str | None], dict[str, int]]


def graph_of(seed: int) -> Graph:
    """Steps in topological order, what each waits for (also names from outside), its kin, and how long it takes."""
    some = random.Random(seed)
    steps = [f"s{number}" for number in range(some.randint(1, 14))]
    before = {}
    for number, step in enumerate(steps):
        earlier = [*steps[max(0, number - 5) : number], "outside"]
        before[step] = some.sample(earlier, min(len(earlier), some.choice([0, 1, 1, 1, 2, 3])))
    kinds: list[str | None] = ["here"] if some.random() < 0.5 else ["here", "here", "there", None]
    kin = {step: some.choice(kinds) for step in steps}
    seconds = {name: some.randint(1, 9) for name in [*steps, "outside"]}
    return steps, before, kin, seconds


graphs = st.builds(graph_of, st.integers(0, 2**32))
whatever_the_graph = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)


def starts(graph: Graph, found: Sequence[Sequence[str]]) -> dict[str, int]:
    """When each step starts, if what follows a group waits for all of it and it waits for all that its steps wait for.

    :raises graphlib.CycleError: two tasks wait for each other.
    """
    steps, before, _, seconds = graph
    task_of: dict[str, Sequence[str]] = {step: [step] for step in steps}
    task_of.update({step: group for group in found for step in group})
    first_of = {step: task_of[step][0] for step in steps}
    waits = {
        group[0]: {first_of.get(name, name) for step in group for name in before[step]} - {group[0]}
        for group in task_of.values()
    }
    ends = {"outside": seconds["outside"]}
    started: dict[str, int] = {}
    inner_ends: dict[str, int] = {}
    for task in TopologicalSorter(waits).static_order():
        if task == "outside":
            continue
        begins = max((ends[name] for name in waits[task]), default=0)
        for step in task_of[task]:
            inside = [inner_ends[name] for name in before[step] if name in task_of[task]]
            started[step] = max([begins, *inside])
            inner_ends[step] = started[step] + seconds[step]
        ends[task] = max(inner_ends[step] for step in task_of[task])
    return started


@whatever_the_graph
@given(graphs)
def test_no_step_starts_later_and_tasks_never_wait_for_each_other(graph: Graph) -> None:
    steps, before, kin, _ = graph
    found = groups(steps, before, kin)
    assert starts(graph, found) == starts(graph, [])


@whatever_the_graph
@given(graphs)
def test_every_step_is_in_at_most_one_group_with_its_kin(graph: Graph) -> None:
    steps, before, kin, _ = graph
    found = groups(steps, before, kin)
    grouped = [step for group in found for step in group]
    assert len(grouped) == len(set(grouped)) and set(grouped) <= set(steps)
    for group in found:
        kinds = {kin[step] for step in group}
        assert len(group) > 1 and len(kinds) == 1 and None not in kinds
        assert group == sorted(group, key=steps.index)


@whatever_the_graph
@given(graphs)
def test_a_chain_is_never_left_in_pieces(graph: Graph) -> None:
    """A step and the only one that waits for it, which waits for nothing else."""
    steps, before, kin, _ = graph
    found = {step: number for number, group in enumerate(groups(steps, before, kin)) for step in group}
    for second in steps:
        if len(before[second]) != 1 or before[second][0] not in steps:
            continue
        first = before[second][0]
        followers = [step for step in steps if first in before[step]]
        if followers == [second] and kin[first] is not None and kin[first] == kin[second]:
            assert found[first] == found[second]


HERE = dict.fromkeys("abcdefgh", "here")


@pytest.mark.parametrize(
    ("before", "kin", "expected"),
    [
        pytest.param({"b": "a", "c": "b"}, HERE, ["abc"], id="chain"),
        pytest.param({"b": "a", "c": "b"}, {**HERE, "b": "there"}, [], id="a path leads out and back"),
        pytest.param({"b": "a", "c": "b", "d": "bc"}, {**HERE, "d": "there"}, ["abc"], id="read twice elsewhere"),
        pytest.param({"b": "a", "c": "a", "d": "b"}, {**HERE, "c": "there"}, ["bd"], id="somebody waits for the first"),
        pytest.param({"b": "a", "c": "a", "d": "bc", "e": "d"}, {**HERE, "e": "x"}, ["abcd"], id="side by side"),
        pytest.param({"b": "a", "c": "ab", "d": "bc", "e": "cd"}, {**HERE, "e": "x"}, ["abcd"], id="reads two before"),
        pytest.param({"c": "ab", "d": "b", "e": "cd"}, HERE, ["abcde"], id="everything, whatever its shape"),
        pytest.param({"b": "a", "d": "c"}, HERE, ["ab", "cd"], id="two parts that nothing connects"),
        pytest.param({"b": "az", "c": "b"}, HERE, ["bc"], id="waits for something else, too"),
        pytest.param({"b": "a"}, {"a": None, "b": None}, [], id="nobody wants it"),
    ],
)
def test_what_is_grouped(before: Mapping[str, str], kin: Mapping[str, str | None], expected: list[str]) -> None:
    steps = sorted({*before, *(name for names in before.values() for name in names)} - {"z"})
    assert ["".join(group) for group in groups(steps, before, kin)] == expected


@pytest.mark.parametrize("shape", ["chain", "fan", "ladder"])
def test_fifty_thousand_steps_are_grouped(shape: str) -> None:
    """With work that grows with the square of them, this would take hours."""
    count = 50_000
    steps = [str(number) for number in range(count)]
    before: dict[str, list[str]] = {step: [str(number - 1)] for number, step in enumerate(steps) if number}
    if shape == "fan":
        before = {step: ["0"] for step in steps[1:-1]} | {steps[-1]: steps[:-1]}
    elif shape == "ladder":
        before = {step: [str(max(0, number - 2)), str(number - 1)] for number, step in enumerate(steps) if number}
    kin: dict[str, str | None] = dict.fromkeys(steps, "here")
    kin[steps[-1]] = "there"
    assert len(groups(steps, before, kin)[0]) in (count - 1, count - 2)
