# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a deployment is, as a sentence."""

from __future__ import annotations

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import BatchProgress
from airflow_hybrid.runs.sites.digests import LastJob
from airflow_hybrid.runs.sites.health import Known, ago, health_of

NOW = 1_000_000.0


def batch(ended: int = 0, running: int = 0, pending: int = 0, unknown: str = "") -> BatchProgress:
    return BatchProgress("/a", "hpc", 10, ended, running, pending, unknown=unknown)


def last(success: bool) -> LastJob:
    state = JobState.COMPLETED if success else JobState.FAILED
    return LastJob(NOW - 180, "/a", "", state, success, "", 0 if success else 1)


@pytest.mark.parametrize(
    ("known", "level", "text"),
    [
        (Known(), "idle", "no job ended here in the last 24 h"),
        (Known(last=last(True), contact=NOW), "good", "the last job ended well 3 min ago"),
        (Known(last=last(False), contact=NOW), "good", "the last job failed by itself 3 min ago"),
        (Known(contact=NOW - 7200), "good", "it was last heard of 2 h ago"),
        (Known(((batch(9, 1), NOW),)), "good", "1 job runs"),
        (Known(((batch(0, 2, 1), NOW), (batch(0, 1, 3), NOW))), "good", "3 jobs run and 4 jobs wait"),
        (Known(((batch(10), NOW), (batch(10), NOW))), "good", "2 batches of jobs are there"),
        (Known(((batch(10), NOW),)), "good", "1 batch of jobs is there"),
        (
            Known(((batch(running=3), NOW),), jobs=5, by_site=1),
            "warn",
            "1 job of 5 in the last 24 h failed for a reason of the site (node, lost, disk full)",
        ),
        (
            Known(((batch(running=3), NOW), (batch(unknown="no\x1b answer"), NOW - 300)), jobs=5, by_site=1),
            "bad",
            "the state of 1 batch is unknown: no\\x1b answer (for 5 min)",
        ),
        (
            Known(((batch(unknown="b"), NOW - 30), (batch(unknown="a"), NOW - 200_000))),
            "bad",
            "the states of 2 batches are unknown: a (for 2 d)",
        ),
    ],
)
def test_the_sentence_is_about_the_worst_that_is_known(known: Known, level: str, text: str) -> None:
    health = health_of(known, NOW)
    assert (health.level, health.text) == (level, text)


def test_a_site_whose_clock_is_ahead_was_heard_of_just_now() -> None:
    assert ago(-5) == "just now"
