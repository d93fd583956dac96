# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whatever a queue's programs print, torn or garbled, is an answer or a question that was not answered: no exception
ends the poller, and what is missing proves nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.schedulers.base import Account, QueueView, Scheduler
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from tests.unit.schedulers.transcripts import RECORDINGS

SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "slurm": SlurmScheduler, "pbs": PbsScheduler, "sge": SgeScheduler, "flux": FluxScheduler,
    "process": ProcessScheduler,
}  # fmt: skip
IDS = ["2", "11", "16", "18.pbs", "20"]
MARKS = [
    "#queue",
    "#accounting",
    "#jobs",
    "#said",
    "#rc 0",
    "#rc 1",
    "#rc 137",
    "#exit 0",
    "#exit 1",
    "#j 11",
    "#e",
    "",
]
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@functools.cache
def recordings(name: str) -> list[list[str]]:
    """The lines of each recorded answer of a scheduler's programs."""
    answers = [yaml.safe_load(path.read_text()) for path in sorted((RECORDINGS / name).glob("*.yaml"))]
    texts = [(answer["stdout"] + answer["stderr"]).splitlines()[:60] for answer in answers]
    return [lines for lines in texts if lines] or [["20 RUNNING", "20 COMPLETED 0"]]


def without(lines: list[str], dropped: set[int], torn: int) -> list[str]:
    """Lines of which some are missing, and of one the end."""
    return [line[: torn % 9] if number == torn else line for number, line in enumerate(lines) if number not in dropped]


def lines_of(name: str) -> st.SearchStrategy[list[str]]:
    """What programs of a scheduler might print: recorded answers with holes, marks of ours, and anything else."""
    numbers = st.integers(0, 60)
    answers = st.builds(without, st.sampled_from(recordings(name)), st.sets(numbers, max_size=8), numbers)
    anything = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20)
    other = st.lists(st.one_of(st.sampled_from(MARKS), anything), max_size=4)
    pieces = st.lists(st.one_of(answers, other), max_size=4)
    return pieces.map(lambda lists: [line for lines in lists for line in lines])


def status(scheduler: Scheduler, text: str) -> dict[str, QueueView] | None:
    """None: the question was not answered."""
    try:
        return scheduler.parse_status(text, IDS)
    except StatusUnknownError:
        return None


@pytest.mark.parametrize("name", SCHEDULERS)
@EXAMPLES
@given(data=st.data())
def test_any_text_is_an_answer_or_none(name: str, data: st.DataObject) -> None:
    scheduler = SCHEDULERS[name]()
    first, second, third = (data.draw(lines_of(name)) for _ in range(3))
    text = "\n".join(["#queue", *first, "#rc 0", "#accounting", *second, "#rc 0", "#jobs", *third, "#rc 0", ""])
    views = status(scheduler, text)
    assert views is None or set(views) <= set(IDS)
    assert isinstance(scheduler.parse_account(text, IDS), Account)


@pytest.mark.parametrize("name", ["slurm", "pbs", "sge", "flux"])
@EXAMPLES
@given(data=st.data())
def test_an_answer_that_was_cut_off_is_none(name: str, data: st.DataObject) -> None:
    scheduler = SCHEDULERS[name]()
    lines = [line for line in data.draw(lines_of(name)) if not line.startswith("#")]
    text = "\n".join(["#queue", *lines])
    assert status(scheduler, text) is None
    assert not scheduler.parse_account(text, IDS).complete


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(deadline=None)
@given(text=st.text())
def test_any_words_of_a_site_are_judged(name: str, text: str) -> None:
    scheduler = SCHEDULERS[name]()
    for judged in (scheduler.refused_for_good(text), scheduler.hopeless(text), scheduler.too_large(text)):
        assert judged in (True, False)
    assert isinstance(scheduler.explain(text), str)
    largest = scheduler.parse_max_array(text)
    assert largest is None or largest >= 1
