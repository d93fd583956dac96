# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a run did, in a few lines. Pure: text from sites and jobs is escaped, and bounded."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.amounts import core_hours_in_words, counted, size
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.usage import core_seconds, is_success, last_tries
from airflow_hybrid.printable import printable, shortened

MOST_FAILURES = 5
MOST_TRANSFERS = 5
_LONGEST_REASON = 300
_LONGEST_NAME = 200


@dataclass(frozen=True)
class RunSummary:
    """A run that has ended. As text (``{{ hybrid_summary }}`` in a template) it is the whole summary.

    :ivar state: ``succeeded`` or ``failed``; ``reason``: Airflow's, or the exception of a task.
    :ivar records: of all jobs and their tries.
    :ivar failed_tasks: ids of tasks that failed, with a job that did or without; None: not known.
    :ivar unread: tasks whose reports could not be read.
    :ivar url: of the run in Airflow's UI.
    """

    dag_id: str
    run_id: str
    state: str
    reason: str = ""
    records: Sequence[JobRecord] = ()
    transfers: Sequence[Transfer] = ()
    failed_tasks: Sequence[str] | None = ()
    unread: Sequence[str] = ()
    url: str = ""
    steps_of_tasks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """the steps whose jobs each task has reported"""

    def __str__(self) -> str:
        return self.text

    @property
    def title(self) -> str:
        """``claire failed: 1 of 16 jobs failed``"""
        failed = len(self.failures)
        jobs = f"{failed} of {counted(len(self.jobs), 'job')} failed" if failed else counted(len(self.jobs), "job")
        return f"{_name(self.dag_id)} {self.state}: {jobs}"

    @property
    def text(self) -> str:
        """The summary, of some twenty lines at most."""
        lines = [f"{_name(self.dag_id)}, run {_name(self.run_id)}: {self.state}", self._jobs_line(), self._use_line()]
        if self.state == "failed" and self.reason:
            lines.insert(1, f"reason: {shortened(printable(self.reason), _LONGEST_REASON)}")
        lines += self._transfer_lines()
        lines += self._failure_lines()
        if self.unread:
            lines.append(f"not counted, as they cannot be read: the reports of {_some(self.unread)}")
        if self.url:
            lines.append(self.url)
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The same for mails in HTML."""
        return f"<pre>{html.escape(self.text)}</pre>"

    @property
    def jobs(self) -> list[JobRecord]:
        """The last try of each job."""
        return last_tries(self.records)

    @property
    def failures(self) -> list[JobRecord]:
        """Jobs that did not succeed, the first to fail first."""
        failed = [record for record in self.jobs if not is_success(record)]
        return sorted(failed, key=lambda record: (record.ended or math.inf, record.step, record.index))

    @property
    def core_hours(self) -> float:
        """Cores by time of all tries that ran; a job that asks for none has one."""
        return sum(core_seconds(record) for record in self.records) / 3600

    def _jobs_line(self) -> str:
        jobs = self.jobs
        good = [record for record in jobs if is_success(record)]
        reused = sum(record.reused for record in good)
        text = f"{counted(len(jobs), 'job')} ended: {len(good):,} succeeded"
        if reused:
            text += f" ({reused:,} of them reused)"
        return f"{text}, {len(jobs) - len(good):,} failed"

    def _use_line(self) -> str:
        again = len(self.records) - len(self.jobs)
        text = core_hours_in_words(self.core_hours)
        return f"{text}, with {counted(again, 'earlier try', 'earlier tries')}" if again else text

    def _transfer_lines(self) -> list[str]:
        moved: dict[tuple[str, str], int] = {}
        for transfer in self.transfers:
            if transfer.source != transfer.target:
                way = transfer.source, transfer.target
                moved[way] = moved.get(way, 0) + transfer.bytes
        if not moved:
            return ["nothing was moved between sites"]
        ways = sorted(moved.items(), key=lambda item: (-item[1], item[0]))
        lines = [f"{size(sum(moved.values()))} moved between sites"]
        lines += [f"  {_name(a)} -> {_name(b)}: {size(number)}" for (a, b), number in ways[:MOST_TRANSFERS]]
        if len(ways) > MOST_TRANSFERS:
            lines.append(f"  and {len(ways) - MOST_TRANSFERS} more")
        return lines

    def _failure_lines(self) -> list[str]:
        lines = []
        failures = self.failures
        if failures:
            lines.append("first failures:" if len(failures) > 1 else "failure:")
            lines += [f"  {_failure(record)}" for record in failures[:MOST_FAILURES]]
            if len(failures) > MOST_FAILURES:
                lines.append(f"  and {len(failures) - MOST_FAILURES:,} more")
        if self.failed_tasks is None:
            return [*lines, "which tasks failed is not known: Airflow did not say"]
        steps = {record.step for record in failures}
        others = [task for task in self.failed_tasks if not steps & self.steps_of_tasks.get(task, frozenset())]
        if others:
            lines.append(f"failed without a failed job, see the logs: {_some(others)}")
        return lines


def _failure(record: JobRecord) -> str:
    """``/train[3] at hpc (n7): OUT_OF_MEMORY, exit code 137: ...``"""
    place = f"{record.deployment}/{record.service}" if record.service else record.deployment
    node = f" ({_name(record.node)})" if record.node else ""
    text = f"{_name(record.name)} at {_name(place)}{node}: {record.state.value}"
    if record.exit_code is not None:
        text += f", exit code {record.exit_code}"
    reason = record.reason_and_rule
    return text + (f": {shortened(printable(reason), _LONGEST_REASON)}" if reason else "")


def _name(text: str) -> str:
    return shortened(printable(text), _LONGEST_NAME)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(_name(name) for name in names[:MOST_FAILURES])
    return f"{shown} and {len(names) - MOST_FAILURES:,} more" if len(names) > MOST_FAILURES else shown
