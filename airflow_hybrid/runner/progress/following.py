# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is known of a run while it goes on: the states of its tasks, and what their jobs' recorders say.

The run's thread (and those of its tasks) write, the thread that draws reads: values that go from one to the other are
replaced as a whole, or only grow.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.model.records import Activity, BatchProgress
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK
from airflow_hybrid.overviews.overview import planned_jobs
from airflow_hybrid.overviews.progress import EndedJobs, Tally, path_of, progress_of, sum_of
from airflow_hybrid.runner.progress.view import RunView, StepLine
from airflow_hybrid.sites.files.under_way import transfers_under_way
from airflow_hybrid.triggers.reports import JobReports

_NOT_RUN = frozenset({"upstream_failed"})
_DONE = frozenset({"success", "skipped", "removed"})
_OVER = frozenset({"failed", *_NOT_RUN, *_DONE})
"""states of tasks that have ended"""
_SUCCEEDED = frozenset({"success"})
_WORDS = {INPUTS_TASK: "checking the inputs", OUTPUTS_TASK: "bringing the outputs to the output folder"}
"""what tasks do that are no steps"""


@dataclass
class _TaskJobs:
    """The jobs of a task instance: they are counted as they end."""

    reports: JobReports | None
    leaves: tuple[str, ...]
    batches: tuple[BatchProgress, ...] = ()
    activities: tuple[Activity, ...] = ()
    tally: Tally = field(default_factory=Tally)
    _recorder: object = None

    def look(self) -> None:
        """Take over what its recorder has now; the recorder of a task that has ended is let go."""
        if self.reports is None:
            return
        is_over, recorder = self.reports.is_over, self.reports.recorder
        if recorder is not self._recorder:  # it began anew
            self._recorder, self.tally = recorder, Tally()
        self.batches, self.activities = recorder.batches, recorder.activities
        self.tally.add(recorder.records_since(self.tally.records))
        if is_over:
            self.reports = self._recorder = None
            self.batches = self.activities = ()

    @property
    def works(self) -> bool:
        return self.reports is not None

    def steps(self) -> dict[str, None]:
        """The steps that it works for now."""
        titles = [*(batch.step for batch in self.batches), *(activity.step for activity in self.activities)]
        paths = dict.fromkeys(map(path_of, titles))
        return paths or dict.fromkeys(self.tally.by_step() or self.leaves[:1])


class RunProgress:
    """Follows one run.

    :param read_planned: ids of plan tasks -> length of the scatter, of those that have ended.
    """

    def __init__(self, outline: DagOutline, read_planned: Callable[[], Mapping[str, int]]) -> None:
        self._steps = {step.path: step for step in outline.steps if step.kind != "workflow"}
        self._order = {path: at for at, path in enumerate(self._steps)}
        self._plans = {step.plan_id for step in outline.steps if step.plan_id and step.scatter}
        self._read_planned = read_planned
        self._planned: Mapping[str, int] = {}
        self._plans_read: frozenset[str] = frozenset()
        self._began = time.monotonic()
        self._states: Mapping[str, frozenset[str]] = {}
        self._works_on = ""
        self._doing = ""
        self._jobs: dict[tuple[str, int], _TaskJobs] = {}

    # --- told by the run --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """The run begins: be told of its jobs."""
        JobReports.follower = self._follow
        try:
            yield
        finally:
            JobReports.follower = None

    def _follow(self, reports: JobReports) -> None:
        identity = reports.spec.identity
        self._jobs[identity.task_id, identity.map_index] = _TaskJobs(reports, reports.spec.leaves)

    def saw(self, instances: Iterable[Any]) -> None:
        """The run's task instances, as Airflow's database has them."""
        states: dict[str, set[str]] = defaultdict(set)
        for instance in instances:
            states[instance.task_id].add(str(getattr(instance.state, "value", instance.state)))
        self._states = {task_id: frozenset(some) for task_id, some in states.items()}
        plans = frozenset(task_id for task_id in self._plans if self._states.get(task_id) == _SUCCEEDED)
        if plans != self._plans_read:
            self._plans_read, self._planned = plans, self._read_planned()

    @contextlib.contextmanager
    def working_on(self, task_id: str) -> Iterator[None]:
        """The run's thread works on a task."""
        self._works_on = task_id
        try:
            yield
        finally:
            self._works_on = ""

    def does(self, what: str) -> None:
        """The run does something that is none of its tasks."""
        self._doing = what

    # --- shown ------------------------------------------------------------------------------------------------------

    def view(self) -> RunView:
        """The run at this moment."""
        tasks = list(self._jobs.values())
        for task in tasks:
            task.look()
        ended: dict[str, list[EndedJobs]] = defaultdict(list)
        for task in tasks:
            for path, counts in task.tally.by_step().items():
                ended[path].append(counts)
        at_work = [task for task in tasks if task.works]
        paths = dict.fromkeys(path for task in at_work for path in task.steps())
        own = self._own_step()
        if own is not None:
            paths[own.path] = None
        lines = [self._line(path, at_work, sum_of(ended[path])) for path in sorted(paths, key=self._place)]
        lines += [_tried_again(step) for step in self._waits_for_retry() if step.path not in paths]
        collecting = [activity for task in at_work for activity in task.activities]
        batches = [batch for task in at_work for batch in task.batches]
        all_ended = sum_of(counts for some in ended.values() for counts in some)
        steps = [step for step in self._steps.values() if step.task_id]
        return RunView(
            steps=tuple(lines),
            transfers=transfers_under_way(),
            done=sum(self._is_over(step, _DONE) for step in steps),
            failed_steps=sum(self._is_over(step, _OVER) and "failed" in self._states[step.task_id] for step in steps),
            not_run=sum(self._is_over(step, _NOT_RUN) for step in steps),
            total=len(steps),
            ended=all_ended.count + sum(b.ended for b in batches) + sum(a.ended for a in collecting),
            failed=all_ended.failed + sum(b.failed or 0 for b in batches) + sum(a.failed for a in collecting),
            running=sum(batch.running for batch in batches),
            pending=sum(batch.pending for batch in batches),
            doing=self._doing or self._work_in_words(),
            seconds=int(time.monotonic() - self._began),
        )

    def _place(self, path: str) -> int:
        return self._order.get(path, len(self._order))

    def _is_over(self, step: StepOutline, ends: frozenset[str]) -> bool:
        """Whether all tasks of a step have ended, in one of some states."""
        states = self._states.get(step.task_id)
        return bool(states) and ends.issuperset(states or ())

    def _waits_for_retry(self) -> Iterator[StepOutline]:
        seen = set()
        for step in self._steps.values():
            if step.task_id not in seen and "up_for_retry" in self._states.get(step.task_id, ()):
                seen.add(step.task_id)
                yield step

    def _own_step(self) -> StepOutline | None:
        """The step that the run's thread works on."""
        task = self._works_on
        return next((step for step in self._steps.values() if task and task in (step.task_id, step.plan_id)), None)

    def _work_in_words(self) -> str:
        task = self._works_on
        if not self._states:
            return "making the run ready"
        if task in _WORDS:
            return _WORDS[task]
        return "" if not task or self._own_step() is not None else f"task {task}"

    def _line(self, path: str, at_work: Sequence[_TaskJobs], ended: EndedJobs) -> StepLine:
        batches = [batch for task in at_work for batch in task.batches if path_of(batch.step) == path]
        activities = [activity for task in at_work for activity in task.activities if path_of(activity.step) == path]
        outline = self._steps.get(path)
        collected = EndedJobs(sum(a.ended for a in activities), sum(a.failed for a in activities))
        planned = planned_jobs(outline, self._planned) if outline is not None else None
        now = time.time()
        before = sum(activity.jobs - activity.ended for activity in activities)
        progress = progress_of(sum_of([ended, collected]), batches, planned, now, before=before)
        places = dict.fromkeys([*(batch.place for batch in batches), *(activity.place for activity in activities)])
        return StepLine(
            path=path,
            progress=progress,
            failed=ended.failed + collected.failed + sum(batch.failed or 0 for batch in batches),
            places=tuple(places),
            doing=self._doings(outline, batches, activities, begun=bool(ended.count)),
            unknown=next((batch.unknown for batch in batches if batch.unknown), ""),
            seconds=None if progress.since is None else max(0, int(now - progress.since)),
        )

    def _doings(
        self,
        step: StepOutline | None,
        batches: Sequence[BatchProgress],
        activities: Sequence[Activity],
        *,
        begun: bool,
    ) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(activity.what for activity in activities))
        if words:
            return words
        if batches:
            known = any(batch.running or batch.pending or batch.ended or batch.unknown for batch in batches)
            return () if known else ("submitted",)
        if step is not None and self._works_on and self._works_on == step.plan_id:
            return ("finding its jobs",)
        return ("handing its outputs on",) if begun else ("starting",)


def _tried_again(step: StepOutline) -> StepLine:
    return StepLine(step.path, progress_of(EndedJobs(), (), None, 0.0), doing=("failed: is tried again",))
