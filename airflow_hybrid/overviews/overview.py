# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run as a whole: its steps, sites and transfers, for the run page, reports and commands."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.model.records import BatchProgress, JobRecord
from airflow_hybrid.overviews.lineage import Placement, RunLineage, placements, transfers
from airflow_hybrid.overviews.progress import EndedJobs, path_of, progress_of
from airflow_hybrid.overviews.replays import RunReplays
from airflow_hybrid.overviews.sizing import USUAL, Enough, Proposal, enough_for, propose
from airflow_hybrid.overviews.steps import StepState, states_of_steps
from airflow_hybrid.overviews.tasks import RunJobs, RunState, TaskState
from airflow_hybrid.overviews.usage import StepUsage, core_seconds, is_success, last_tries, usage_of

_MOST_PLACEMENTS = 200


@dataclass(frozen=True)
class StepOverview:
    """A step in a run. Numbers are numbers of jobs; times are in seconds since the epoch.

    :ivar total: jobs that are known to be its; None: not known yet. Of a job that ran again, its last try counts.
    :ivar pending: submitted, and waiting at the site; ``running``: seen to run there.
    :ivar reasons: why jobs are pending, in the scheduler's words.
    :ivar sites: names of the sites where its jobs ran or are.
    :ivar bytes_in: size of its jobs' input files, of those where it is known; ``bytes_out``: of their output files.
    :ivar per_minute: jobs that ended, by the time since the first one was submitted; ``left_s``: how long the others
        take at that rate. None: nothing is known to say so.
    :ivar enough: by all its jobs that ran, earlier tries too; ``proposal``: what ``airflow hybrid tune`` would
        say, if it looked at this run only. None: none of its jobs ran.
    """

    outline: StepOutline
    state: StepState
    total: int | None
    ended: int = 0
    succeeded: int = 0
    failed: int = 0
    reused: int = 0
    running: int = 0
    pending: int = 0
    reasons: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    submitted: float | None = None
    began: float | None = None
    finished: float | None = None
    per_minute: float | None = None
    left_s: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    usage: StepUsage | None = None
    enough: Enough | None = None
    proposal: Proposal | None = None


@dataclass(frozen=True)
class SiteOverview:
    """A site in a run: deployments whose files are in the same place.

    :ivar name: of the deployment that has the files; ``deployments``: those with jobs there (``hpc/gpu``).
    :ivar kinds: their types, as in the hybrid file.
    :ivar nodes: how many the jobs ran on.
    :ivar core_s: cores by seconds of the jobs there.
    :ivar bytes_in: what was moved there; ``bytes_out``: from there to other sites.
    """

    name: str
    deployments: tuple[str, ...]
    kinds: tuple[str, ...]
    jobs: int = 0
    failed: int = 0
    running: int = 0
    pending: int = 0
    nodes: int = 0
    core_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True)
class RunOverview:
    """A run as a whole.

    :ivar problems: what could not be read, in sentences.
    """

    run: RunState
    outline: DagOutline
    steps: tuple[StepOverview, ...]
    sites: tuple[SiteOverview, ...]
    transfers: tuple[Transfer, ...]
    placements: tuple[Placement, ...]
    batches: tuple[BatchProgress, ...]
    tasks: tuple[TaskState, ...]
    problems: tuple[str, ...] = ()

    def to_json(self) -> JsonValue:
        """As plain values; of the outline, only what the steps have."""
        value: dict[str, Any] = {
            "document": self.outline.document,
            "run": dataclasses.asdict(self.run),
            "steps": [_step_json(step) for step in self.steps],
            "sites": [dataclasses.asdict(site) for site in self.sites],
            "transfers": [dataclasses.asdict(transfer) for transfer in self.transfers],
            "placements": [dataclasses.asdict(placement) for placement in self.placements[:_MOST_PLACEMENTS]],
            "batches": [dataclasses.asdict(batch) for batch in self.batches],
            "problems": list(self.problems),
        }
        return value


def _step_json(step: StepOverview) -> dict[str, Any]:
    value = dataclasses.asdict(step)
    outline, state = value.pop("outline"), value.pop("state")
    places = [f"{t['deployment']}/{t['service']}" if t["service"] else t["deployment"] for t in outline.pop("targets")]
    return {**outline, "targets": places, **state, **value}


@dataclass(frozen=True)
class RunFacts:
    """All that the tasks of a run have published, and Airflow knows of them."""

    run: RunState
    outline: DagOutline
    jobs: RunJobs
    lineage: RunLineage
    tasks: tuple[TaskState, ...]
    planned: Mapping[str, int]
    """ids of plan tasks -> length of the scatter"""
    replays: RunReplays = field(default_factory=RunReplays)

    def records(self) -> list[JobRecord]:
        return [record for task in self.jobs.tasks for record in task.report.records]

    def batches(self) -> list[BatchProgress]:
        return [batch for task in self.jobs.tasks for batch in task.report.batches]


def scatter_length(chunks: Any) -> int:
    """The length of a scatter, from its chunks: ``[{"lo": 0, "hi": 5}, ...]``."""
    ends = [chunk.get("hi") for chunk in chunks if isinstance(chunk, Mapping)] if isinstance(chunks, list) else []
    return max((end for end in ends if isinstance(end, int)), default=0)


def overview_of(facts: RunFacts) -> RunOverview:
    """The sums of a run."""
    storages = storages_of(facts.outline)
    moved = transfers(facts.lineage)
    records = last_tries(facts.records())
    problems = [f"the jobs of task {task} are not shown: {problem}" for task, problem in facts.jobs.unread]
    problems += [f"the files of task {task} are not shown: {problem}" for task, problem in facts.lineage.unread]
    problems += facts.replays.problems()
    return RunOverview(
        run=facts.run,
        outline=facts.outline,
        steps=tuple(_steps(facts, records, storages)),
        sites=tuple(_sites(facts, records, moved, storages)),
        transfers=tuple(moved),
        placements=tuple(placements(facts.lineage)),
        batches=tuple(facts.batches()),
        tasks=facts.tasks,
        problems=tuple(problems),
    )


def storages_of(outline: DagOutline) -> dict[str, str]:
    """Name of each deployment -> that of the one whose files its jobs have: the last in the chain of ``wraps``."""
    wrapped = {name: _wraps(value) for name, value in outline.deployments.items()}
    storages = {}
    for name in wrapped:
        current, seen = name, {name}
        while (inner := wrapped.get(current)) and inner in wrapped and inner not in seen:
            seen.add(inner)
            current = inner
        storages[name] = current
    return storages


def _wraps(deployment: Any) -> str | None:
    wraps = deployment.get("wraps") if isinstance(deployment, Mapping) else None
    return wraps if isinstance(wraps, str) else None


# --- steps ------------------------------------------------------------------------------------------------------


def _steps(facts: RunFacts, records: Sequence[JobRecord], storages: Mapping[str, str]) -> Iterable[StepOverview]:
    records_of: dict[str, list[JobRecord]] = defaultdict(list)
    for record in records:
        records_of[record.step].append(record)
    ran_of: dict[str, list[JobRecord]] = defaultdict(list)
    for record in facts.records():
        if not record.reused:
            ran_of[record.step].append(record)
    batches_of: dict[str, list[BatchProgress]] = defaultdict(list)
    for batch in facts.batches():
        batches_of[path_of(batch.step)].append(batch)
    states = states_of_steps(facts.outline, facts.tasks)
    for outline in facts.outline.steps:
        own, batches = records_of[outline.path], batches_of[outline.path]
        step = _step(outline, states[outline.path], own, batches, _Context(facts, storages))
        ran = ran_of[outline.path]
        if ran:
            step = replace(step, enough=enough_for(ran), proposal=propose(outline.path, ran, 1, USUAL))
        yield step


@dataclass(frozen=True)
class _Context:
    facts: RunFacts
    storages: Mapping[str, str]


def planned_jobs(outline: StepOutline, planned: Mapping[str, int]) -> int | None:
    """How many jobs a step has, by its plan; None: it has no plan that says so.

    :param planned: ids of plan tasks -> length of the scatter.
    """
    if outline.kind == "workflow" or outline.shares_task:
        return None
    return planned.get(outline.plan_id)


def _step(
    outline: StepOutline,
    state: StepState,
    records: Sequence[JobRecord],
    batches: Sequence[BatchProgress],
    context: _Context,
) -> StepOverview:
    good = [record for record in records if is_success(record)]
    ended = EndedJobs.of(records)
    now = max((task.report.at for task in context.facts.jobs.tasks), default=0.0)
    progress = progress_of(ended, batches, planned_jobs(outline, context.facts.planned), now)
    deployments = dict.fromkeys(record.deployment for record in records)
    return StepOverview(
        outline=outline,
        state=state,
        total=progress.total,
        ended=progress.ended,
        succeeded=len(good),
        failed=ended.failed,
        reused=sum(record.reused for record in good),
        running=progress.running,
        pending=progress.pending,
        reasons=progress.reasons,
        sites=tuple(dict.fromkeys(context.storages.get(name, name) for name in deployments)),
        submitted=ended.submitted,
        began=min([r.began for r in records if r.began is not None], default=None),
        finished=max([end for end in [r.ended for r in records] if end is not None], default=None),
        per_minute=progress.per_minute,
        left_s=progress.left_s,
        bytes_in=_sum([record.bytes_in for record in records]),
        bytes_out=_sum([record.bytes_out for record in records]),
        usage=usage_of(outline.path, records) if records else None,
    )


def _sum(sizes: Sequence[int | None]) -> int | None:
    """The sum of those that are known; None: of no job."""
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


# --- sites ------------------------------------------------------------------------------------------------------


def _sites(
    facts: RunFacts, records: Sequence[JobRecord], moved: Sequence[Transfer], storages: Mapping[str, str]
) -> list[SiteOverview]:
    """The sites with jobs, or whose files were used, those with most core-hours first."""
    records_at: dict[str, list[JobRecord]] = defaultdict(list)
    for record in records:
        records_at[storages.get(record.deployment, record.deployment)].append(record)
    batches_at: dict[str, list[BatchProgress]] = defaultdict(list)
    for batch in facts.batches():
        name = batch.place.partition("/")[0].partition(" ")[0]
        batches_at[storages.get(name, name)].append(batch)
    names = dict.fromkeys([*records_at, *batches_at])
    names.update(dict.fromkeys(name for transfer in moved for name in (transfer.source, transfer.target)))
    sites = [_site(facts, name, records_at[name], batches_at[name], moved) for name in names]
    return sorted(sites, key=lambda site: (-site.core_s, -site.jobs, site.name))


def _site(
    facts: RunFacts,
    name: str,
    records: Sequence[JobRecord],
    batches: Sequence[BatchProgress],
    moved: Sequence[Transfer],
) -> SiteOverview:
    places = dict.fromkeys(f"{r.deployment}/{r.service}" if r.service else r.deployment for r in records)
    deployments = dict.fromkeys(record.deployment for record in records)
    kinds = dict.fromkeys(_kind(facts.outline, deployment) for deployment in deployments)
    if not kinds and name in facts.outline.deployments:
        kinds = {_kind(facts.outline, name): None}
    return SiteOverview(
        name=name,
        deployments=tuple(places),
        kinds=tuple(kinds),
        jobs=len(records),
        failed=sum(not is_success(record) for record in records),
        running=sum(batch.running for batch in batches),
        pending=sum(batch.pending for batch in batches),
        nodes=len({record.node for record in records if record.node}),
        core_s=round(sum(core_seconds(record) for record in records), 2),
        bytes_in=sum(t.bytes for t in moved if t.target == name and t.source != name),
        bytes_out=sum(t.bytes for t in moved if t.source == name and t.target != name),
    )


def _kind(outline: DagOutline, deployment: str) -> str:
    value = outline.deployments.get(deployment)
    kind = value.get("type") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) else ""
