# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which failed tries Airflow follows with another: what our retry policy answers."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_hybrid.errors import HybridError, JobFailedError, SiteError
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.operators.ending import AskedRetries, FailurePolicy

DEFAULT, FAIL = RetryAction.DEFAULT, RetryAction.FAIL
NOBODY, ONCE = AskedRetries(0, 0, 3), AskedRetries(1, 1, 1)
USELESS = "another try would fail as this one did, or nobody asked for one by `retries`"
OVER = "its time was over, and nobody asked for another try by `retries`"


class Fails(HybridTask):
    """A task that fails with an error of ours."""

    error: HybridError

    def run_task(self, context: Any) -> Any:
        raise self.error


def ended(error: HybridError, **options: Any) -> tuple[HybridTask, BaseException]:
    """A task that has failed, and what Airflow sees of that."""
    task = Fails(task_id="t", **options)
    task.error = error
    with pytest.raises(SystemExit) as caught:
        task.execute({})
    return task, caught.value


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (SiteError("no answer"), DEFAULT),
        (JobFailedError("a job failed", retryable=True), DEFAULT),
        (JobFailedError("a job failed", retryable=False), FAIL),
        (HybridError("no such input"), FAIL),
    ],
)
def test_a_task_is_tried_again_if_that_may_help(error: HybridError, action: RetryAction) -> None:
    task, exception = ended(error, retries=3, asked_retries=NOBODY)
    assert task.retry_policy is not None
    decision = task.retry_policy.evaluate(exception, 1, 3)
    assert (decision.action, decision.reason) == (action, USELESS if action is FAIL else None)
    # no tries are left: nothing has to be decided, or said
    assert task.retry_policy.evaluate(exception, 4, 3) == RetryDecision.default()


@pytest.mark.parametrize(
    ("asked", "try_number", "max_tries", "action"),
    [
        (NOBODY, 1, 3, FAIL),
        (NOBODY, 5, 7, FAIL),  # after a clear
        (ONCE, 1, 1, DEFAULT),
        (ONCE, 2, 1, DEFAULT),  # no tries are left
        (ONCE, 3, 3, DEFAULT),  # after a clear
        (AskedRetries(1, 0, 3), 1, 3, DEFAULT),
        (AskedRetries(1, 0, 3), 2, 3, FAIL),
    ],
)
def test_a_task_whose_time_is_over_is_tried_again_only_where_somebody_asked(
    asked: AskedRetries, try_number: int, max_tries: int, action: RetryAction
) -> None:
    decision = FailurePolicy(asked).evaluate(AirflowTaskTimeout("Timeout"), try_number, max_tries)
    assert (decision.action, decision.reason) == (action, OVER if action is FAIL else None)


@pytest.mark.parametrize("error", [TimeoutError("the API does not answer"), ConnectionError("reset"), SystemExit(1)])
def test_what_is_not_our_error_is_tried_again(error: BaseException) -> None:
    assert FailurePolicy(NOBODY).evaluate(error, 1, 3) == RetryDecision.default()


class Slowly(RetryPolicy):
    """A user's own policy."""

    def evaluate(self, *_: Any, **__: Any) -> RetryDecision:
        return RetryDecision.retry(reason="slowly")


def test_a_policy_of_the_user_decides_about_what_may_be_tried_again() -> None:
    options = {"retries": 3, "asked_retries": NOBODY, "retry_policy": Slowly()}
    for error, action in ((SiteError("no answer"), RetryAction.RETRY), (HybridError("wrong"), FAIL)):
        task, exception = ended(error, **options)
        assert task.retry_policy is not None
        assert task.retry_policy.evaluate(exception, 1, 3).action is action


def test_retries_that_a_cluster_policy_sets_are_asked_for() -> None:
    assert Fails(task_id="t", retries=3, asked_retries=NOBODY).asked_retries == NOBODY
    assert Fails(task_id="t", retries=5, asked_retries=NOBODY).asked_retries == AskedRetries(5, 5, 5)
    assert Fails(task_id="t", retries=2).asked_retries == AskedRetries(2, 2, 2)
