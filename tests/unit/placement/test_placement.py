# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import inspect
from typing import Any

import pytest

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Resources, Target
from airflow_hybrid.placement import Candidate, Choice, Policy, allowed, choose
from tests.raising import raising

GB = 10**9


@pytest.mark.parametrize(
    ("candidates", "index", "reason"),
    [
        ([Candidate("a", "1", 0), Candidate("b", "1", 0)], 0, "all inputs are there, least used"),
        (
            [Candidate("a", "1", taken_cores=3), Candidate("b", "1", taken_cores=1)],
            1,
            "all inputs are there, least used",
        ),
        ([Candidate("a", "1", GB), Candidate("b", "1", 0)], 1, "all inputs are there; a (1): 1.0 GB to move"),
        (
            [Candidate("a", "1", GB, bytes_per_s=1e6), Candidate("b", "1", 2 * GB, bytes_per_s=1e9)],
            1,
            "2.0 GB to move at 1.0 GB/s, about 2 s; a (1): 1.0 GB to move",
        ),
        ([Candidate("a", "1", 5000)], 0, "5.0 kB to move, about 0 s"),
        (
            [Candidate("a", "1", 0, cores=2), Candidate("b", "1", GB, cores=8)],
            1,
            "1.0 GB to move, about 20 s",
        ),
        (
            [Candidate("a", "1", 0, free_cores=0), Candidate("b", "1", GB, free_cores=8)],
            1,
            "1.0 GB to move, about 20 s",
        ),
        (
            [Candidate("a", "1", 0, free_cores=1), Candidate("b", "1", GB, free_cores=2)],
            0,
            "all are busy; all inputs are there; b (1): 1.0 GB to move",
        ),
    ],
)
def test_capacity_goes_before_bytes_and_bytes_before_order(
    candidates: list[Candidate], index: int, reason: str
) -> None:
    choice = choose(candidates, Resources(cores=4))
    assert (choice.index, choice.reason) == (index, reason)


@pytest.mark.parametrize(("policy", "index"), [("in_order", 0), ("spread", 1), ("data_locality", 2), (None, 2)])
def test_policies_differ(policy: str | None, index: int) -> None:
    candidates = [
        Candidate("a", "1", GB, free_cores=1),
        Candidate("b", "1", GB, free_cores=9),
        Candidate("c", "1", 0),
    ]
    assert choose(candidates, Resources(), policy).index == index


def test_what_cannot_be_chosen_is_said() -> None:
    with raising(ConfigError, "no location can hold a job of 4 cores and 256 MiB: a (1) has 2 cores"):
        choose([Candidate("a", "1", cores=2)], Resources(cores=4))
    message = (
        "no location can hold a job of 1 core and 256 MiB: a (1) has an unknown number of cores and 100 MiB, "
        "b (2) has 1 core and 128 MiB"
    )
    with raising(ConfigError, message):
        choose([Candidate("a", "1", memory_mib=100), Candidate("b", "2", cores=1, memory_mib=128)], Resources())
    with raising(ConfigError, "the binding has no location"):
        choose([])
    message = "there is no policy 'best'\n  -> there are: data_locality, in_order, spread, load, queue_wait, cost"
    with raising(ConfigError, message):
        choose([Candidate("a", "1")], policy="best")


@pytest.mark.parametrize(
    ("policy", "candidates", "index", "reason"),
    [
        (
            "load",
            [Candidate("a", "1", cores=8, free_cores=2), Candidate("b", "1", cores=100, free_cores=50)],
            1,
            "50% of 100 cores taken; a (1): 75%",
        ),
        ("load", [Candidate("a", "1", jobs=3), Candidate("b", "1", jobs=1)], 1, "load unknown, 1 of our jobs there"),
        (
            "load",
            [Candidate("a", "1"), Candidate("b", "1", cores=4, free_cores=4)],
            1,
            "0% of 4 cores taken; a (1): unknown",
        ),
        (
            "queue_wait",
            [Candidate("a", "1", wait_s=600), Candidate("b", "1", wait_s=30, service="gpu")],
            1,
            "starts in about 30 s by the site's own estimate; a (1): 600 s",
        ),
        # what has to be brought there first is waited for as well
        ("queue_wait", [Candidate("a", "1", 100 * GB, wait_s=0), Candidate("b", "1", wait_s=30)], 1, None),
        ("queue_wait", [Candidate("a", "1"), Candidate("b", "1", wait_s=9999)], 1, None),
        ("queue_wait", [Candidate("a", "1"), Candidate("b", "1")], 0, "no site says when the job would start"),
        (
            "cost",
            [Candidate("a", "1", price=0.05), Candidate("b", "1", price=0.01), Candidate("c", "1")],
            1,
            "0.02 an hour (0.01 per core); a (1): 0.05, c (1): unknown",
        ),
        ("cost", [Candidate("a", "1", GB, price=0), Candidate("b", "1", price=0)], 1, None),
        ("cost", [Candidate("a", "1", GB), Candidate("b", "1")], 1, None),
    ],
)
def test_what_each_policy_prefers(policy: str, candidates: list[Candidate], index: int, reason: str | None) -> None:
    choice = choose(candidates, Resources(cores=2), policy)
    assert choice.index == index and (reason is None or choice.reason == reason), choice


def test_a_location_with_as_many_jobs_as_it_may_have_is_passed_over() -> None:
    full, free = Candidate("a", "1", jobs=2, max_jobs=2), Candidate("b", "1", GB, max_jobs=2)
    assert choose([full, free]) == Choice(1, "1.0 GB to move, about 20 s; full: a (1)")
    assert choose([full, full]).reason == "all are busy; all inputs are there, least used"


class Last(Policy):
    def choose(self, candidates: object, resources: Resources) -> Choice:
        return Choice(99, "whim")


def test_a_policy_cannot_choose_what_is_no_candidate() -> None:
    chosen = "Choice(index=99, reason='whim'), which is not one of its candidates"
    with raising(ConfigError, f"the policy {__name__}.Last chose {chosen}"):
        choose([Candidate("a", "1")], policy=Last())


# --- binding filters ---

A, B, GPU = Target("a"), Target("b"), Target("b", "gpu")


def matching(*rules: tuple[object, list[dict[str, object]]]) -> dict[str, object]:
    config = {"filters": [{"target": target, "job": job} for target, job in rules]}
    return {"name": "f", "type": "matching", "config": config}


@pytest.mark.parametrize(
    ("rule", "value", "fits"),
    [
        ({"match": "large"}, "large", True),
        ({"match": "large"}, "larger", False),
        ({"match": "3"}, 3, True),
        ({"match": "true"}, True, True),
        ({"match": "True"}, True, True),
        ({"match": "data.bam"}, {"class": "File", "basename": "data.bam"}, True),
        ({"regex": r"chr[0-9]+"}, "chr12", True),
        ({"regex": r"chr[0-9]+"}, "chr12b", False),
        ({"regex": r".*\.bam"}, {"class": "File", "basename": "x.bam"}, True),
        ({"min": 10}, 10, True),
        ({"min": 10}, 9.99, False),
        ({"min": 1, "max": 5}, 5, True),
        ({"min": 1, "max": 5}, 6, False),
        ({"min": 1000}, {"class": "File", "basename": "x", "size": 2000}, True),
        ({"max": 1000}, {"class": "File", "basename": "x", "size": 2000}, False),
        ({"max": 1000}, None, False),
        ({"match": "x", "regex": "y"}, "x", False),
    ],
)
def test_a_rule_matches_text_patterns_and_ranges(rule: dict[str, object], value: object, fits: bool) -> None:
    entry = matching(("a", [{"port": "p", **rule}]), ("b", []))
    assert (0 in allowed([entry], [A, B], {"p": value}, "")) is fits


def test_targets_without_a_rule_are_left_out_and_services_count() -> None:
    by_model = matching(
        ({"deployment": "b", "service": "gpu"}, [{"port": "model", "match": "large"}]),
        ("a", [{"port": "model", "match": "small"}]),
    )
    assert allowed([by_model], [A, B, GPU], {"model": "large"}, "") == [2]
    assert allowed([by_model], [A, B, GPU], {"model": "small"}, "") == [0]
    message = (
        "the binding filter `f` leaves no target for a job with model = 'medium' (of a, b, b/gpu)\n"
        "  -> add a rule for it, or one with `job: []`, which takes every job"
    )
    with raising(ConfigError, message):
        allowed([by_model], [A, B, GPU], {"model": "medium"}, "")


def test_the_later_form_of_the_filter_takes_the_start_of_a_text() -> None:
    config = {"match": [{"deployment": "a", "job": [{"input": "p", "regex": "ab"}]}, {"deployment": "b", "job": []}]}
    entry = {"name": "f", "type": "matching", "config": config}
    assert allowed([entry], [A, B], {"p": "abc"}, "") == [0, 1]
    assert allowed([entry], [A, B], {"p": "xab"}, "") == [1]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"q": 1}, "the step has no input `p`\n  -> it has: q"),
        ({"p": [1, 2]}, "the input `p` is an array or a record; rules cannot match these"),
        ({"p": "text"}, "the input `p` is 'text', which `min` and `max` cannot compare"),
    ],
)
def test_a_rule_that_does_not_fit_the_inputs_is_told(inputs: dict[str, object], message: str) -> None:
    with raising(ConfigError, f"binding filter `f`: {message}"):
        allowed([matching(("a", [{"port": "p", "min": 1}]))], [A], inputs, "")


def test_a_shuffle_gives_each_job_an_order_of_its_own_and_always_the_same() -> None:
    entry = {"name": "s", "type": "shuffle", "config": {}}
    orders = {tuple(allowed([entry], [A, B, GPU], {}, f"job {i}")) for i in range(60)}
    assert len(orders) == 6
    assert allowed([entry], [A, B, GPU], {}, "job 1") == allowed([entry], [A, B, GPU], {}, "job 1")


class Broken(Policy):
    def choose(self, candidates: Any, resources: Resources) -> Choice:
        return Choice(candidates[0][1].bytes, "no such attribute")


def test_a_policy_that_fails_is_named_with_file_and_line() -> None:
    with pytest.raises(ConfigError) as caught:
        choose([Candidate("a", "x")], policy=Broken())
    line = inspect.getsourcelines(Broken.choose)[1] + 1
    assert str(caught.value) == (
        f"{__file__}:{line}: the policy {__name__}.Broken failed: AttributeError: 'Candidate' object has no attribute"
        " 'bytes'\n  -> docs/how-to/placement.md says what a policy is given"
    )
