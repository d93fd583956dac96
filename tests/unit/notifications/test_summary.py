# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The summary of a run as text, and the notifiers that send it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    GetTaskStates,
    GetXComSequenceSlice,
    TaskStatesResult,
    XComSequenceSliceResult,
)

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import JobState, LineageEntry
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.model.records import JobRecord, JobsReport
from airflow_hybrid.notifications import RunSummaryNotifier
from airflow_hybrid.notifications.summary import RunSummary


def job(index: int, state: JobState = JobState.COMPLETED, **more: Any) -> JobRecord:
    return JobRecord("/train", f"[{index}]", "hpc", "gpu", "login", state, **more)


MOVED = [
    Transfer("left", "hpc", "relay", 2, 3_000_000_000, 12.0),
    Transfer("left", "hpc", "direct", 1, 500_000_000, 12.0),
    Transfer("hpc", "hpc", "copy", 1, 99, 0.1),
    Transfer("hpc", "local", "copy", 1, 1_500, 0.1),
]


def test_a_run_that_succeeded() -> None:
    records = [job(0, seconds=7200.0, cores=4.0), job(1, reused=True), job(2, seconds=1800.0)]
    summary = RunSummary(
        "claire", "manual__1", "succeeded", "success", records, MOVED, url="https://a/dags/claire/runs/1"
    )
    assert summary.title == "claire succeeded: 3 jobs"
    assert summary.text == (
        "claire, run manual__1: succeeded\n"
        "3 jobs ended: 3 succeeded (1 of them reused), 0 failed\n"
        "8.5 core-hours\n"
        "3.5 GB moved between sites\n"
        "  left -> hpc: 3.5 GB\n"
        "  hpc -> local: 1.5 kB\n"
        "https://a/dags/claire/runs/1"
    )


def test_a_run_that_failed_says_which_jobs_first() -> None:
    records = [
        job(0, JobState.FAILED, exit_code=3, seconds=5.0, began=200.0),
        job(
            1,
            JobState.OUT_OF_MEMORY,
            exit_code=137,
            node="n7",
            reason="killed\x1b[2J\nby the kernel",
            began=50.0,
            seconds=1.0,
        ),
        job(2, JobState.FAILED, exit_code=1, seconds=3600.0),
        job(2, attempt=2, seconds=1800.0),
    ]
    summary = RunSummary(
        "claire", "manual__1", "failed", "task_failure", records,
        failed_tasks=["train", "prepare"], unread=["score"], steps_of_tasks={"train": frozenset({"/train"})},
    )  # fmt: skip
    assert summary.title == "claire failed: 2 of 3 jobs failed"
    assert summary.text == (
        "claire, run manual__1: failed\n"
        "reason: task_failure\n"
        "3 jobs ended: 1 succeeded, 2 failed\n"
        "1.5 core-hours, with 1 earlier try\n"
        "nothing was moved between sites\n"
        "first failures:\n"
        "  /train[1] at hpc/gpu (n7): OUT_OF_MEMORY, exit code 137: killed\\x1b[2J\\nby the kernel\n"
        "  /train[0] at hpc/gpu: FAILED, exit code 3\n"
        "failed without a failed job, see the logs: prepare\n"
        "not counted, as they cannot be read: the reports of score"
    )


def test_a_summary_is_short_whatever_the_run_was() -> None:
    records = [job(n, JobState.FAILED, reason="x" * 10_000, node="n" * 5_000) for n in range(10_000)]
    moved = [Transfer(f"a{n}", "hpc", "relay", 1, n, 1.0) for n in range(100)]
    tasks = [f"t{n}" for n in range(1_000)]
    summary = RunSummary("d", "r", "failed", "y" * 10_000, records, moved, tasks, tasks)
    assert len(summary.text) < 6_000 and len(summary.text.splitlines()) < 25
    assert "  and 9,995 more" in summary.text and "  and 95 more" in summary.text


def test_html_is_text() -> None:
    summary = RunSummary("d", "<script>", "failed", "<b>")
    assert "<script>" not in summary.html and "&lt;script&gt;" in summary.html


# --- as a callback ---------------------------------------------------------------------------------------------------


class Api:
    """What Airflow's supervisor answers to a callback."""

    def __init__(self, xcoms: dict[tuple[str, str], list[Any]], states: dict[str, str]) -> None:
        self.xcoms, self.states = xcoms, states

    def send(self, msg: Any) -> Any:
        if isinstance(msg, GetTaskStates):
            return TaskStatesResult(task_states={"run": self.states})
        assert isinstance(msg, GetXComSequenceSlice) and (msg.dag_id, msg.run_id) == ("claire", "run")
        if msg.task_id == "broken":
            return ErrorResponse()
        return XComSequenceSliceResult(root=self.xcoms.get((msg.task_id, msg.key), []))


class Mail(BaseNotifier):
    """A notifier with templates, as those of the providers are."""

    template_fields: Sequence[str] = ("subject", "body")

    def __init__(self) -> None:
        super().__init__()
        self.subject = "{{ hybrid_summary.title }}"
        self.body = "{{ hybrid_summary }}"
        self.sent: list[tuple[str, str]] = []

    def notify(self, context: Any) -> None:
        self.sent.append((self.subject, self.body))


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    lineage = LineageEntry("file:///x", "hybrid://hpc/login/x", "relay", 2_000, 0.1)
    report = JobsReport((job(0, seconds=3600.0), job(1, JobState.FAILED, exit_code=2, seconds=1.0))).to_json()
    api = Api(
        {
            ("train", "jobs"): [report, {"version": 99}],
            ("train", "lineage"): [[lineage.to_json()]],
            ("outputs", "lineage"): [[{"source": 3}]],
        },
        {"train_0": "failed", "train_1": "success", "broken": "failed", "outputs": "upstream_failed"},
    )
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", api, raising=False)
    tasks = [("inputs", "InputsOperator"), ("train", "HybridOperator"), ("broken", "HybridOperator"), ("outputs", "X")]
    dag = SimpleNamespace(
        dag_id="claire",
        tasks=[SimpleNamespace(task_id=name, task_type=kind) for name, kind in tasks],
        get_template_env=lambda **_: jinja2.Environment(),
        render_template_as_native_obj=False,
    )
    return {"dag": dag, "run_id": "run", "reason": "task_failure"}


def test_what_a_callback_can_read_is_summed_up_for_each_sender(
    context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/")
    mail = Mail()
    seen: list[RunSummary] = []
    RunSummaryNotifier(mail, lambda context: seen.append(context["hybrid_summary"]))(context)
    assert mail.sent == [(seen[0].title, seen[0].text)]
    assert seen[0].text == (
        "claire, run run: failed\n"
        "reason: task_failure\n"
        "2 jobs ended: 1 succeeded, 1 failed\n"
        "1 core-hour\n"
        "2.0 kB moved between sites\n"
        "  local -> hpc: 2.0 kB\n"
        "failure:\n"
        "  /train[1] at hpc/gpu: FAILED, exit code 2\n"
        "failed without a failed job, see the logs: broken\n"
        "not counted, as they cannot be read: the reports of train, broken, outputs\n"
        "https://airflow.example.org/dags/claire/runs/run"
    )


def test_a_sender_that_fails_does_not_stop_the_others(context: dict[str, Any]) -> None:
    def fails(_: Any) -> None:
        raise OSError("no mail server")

    seen: list[Any] = []
    with pytest.raises(OSError, match="no mail server"):
        RunSummaryNotifier(fails, seen.append)(context)
    assert len(seen) == 1


def test_a_sender_is_a_notifier_or_a_function() -> None:
    with pytest.raises(ConfigError, match="a sender of summaries is 'me@example.org'"):
        RunSummaryNotifier("me@example.org")  # type: ignore[arg-type]


def test_states_that_airflow_does_not_tell_are_no_successes() -> None:
    summary = RunSummary(dag_id="claire", run_id="r", state="failed", failed_tasks=None)
    assert "which tasks failed is not known: Airflow did not say" in summary.text.splitlines()
