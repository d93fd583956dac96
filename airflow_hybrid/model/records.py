# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is known of the jobs of a task, for people: a record for each job that has ended, and how far batches are.

A task publishes one report, whatever the number of its jobs, so Airflow's database gets no row per job. In a report the
records are columns, and a column says what its values have in common only once (:func:`packed`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.model.jobs import JobState
from airflow_hybrid.model.values import JsonValue

JOBS_XCOM = "jobs"
"""key of the XCom with a :class:`JobsReport`"""
LINEAGE_XCOM = "lineage"
"""key of the XCom with a list of :class:`airflow_hybrid.model.LineageEntry`. Of a task that has succeeded it is
complete; of any other it is what is known by then, and many files of one route are one entry"""
PROBLEM_XCOM = "problem"
"""key of the XCom with the error that a task has failed with, or that it waits for
(:func:`airflow_hybrid.triggers.reports.problem`)"""
REPORT_VERSION = 1
MOST_RECORDS = 200_000
"""records in a report that is read"""
_LONGEST_TEXT = 4096
"""characters of a text in a record: a path is the longest"""
_MOST_TEXT = 64 << 20
"""characters of all texts of a column"""


def job_name(step: str, index: str) -> str:
    """The name of a job: ``/align[3]``, ``/count: iteration 2``, ``/each/size[1][0]: iteration 2``.

    All messages, pages and commands have it.

    :param index: as in a record; earlier versions had spaces in it (``[1] [0]``).
    """
    return step + index.replace("] [", "][")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One attempt of one job. Times are in seconds since the epoch, by the site's clocks; None: unknown.

    :ivar step: path of the leaf step; ``index``: which of its jobs, ``[3]`` or ``[3][0]: iteration 2``; ``""``: its
        only one.
    :ivar deployment: and ``service``, that the step is bound to; ``location``: where the job's files are.
    :ivar scheduler_id: the scheduler's id of the element that ran it; ``node``: the node's own name.
    :ivar state: how it ended, as CWL and the scheduler see it: a job is COMPLETED if its exit code is a success.
    :ivar reason: in the site's words; of a job that failed, perhaps with the line of its stderr that tells most.
    :ivar attempt: the task's try that submitted it, from 1.
    :ivar reused: it did not run: its outputs are those of an earlier job.
    :ivar submitted: when the scheduler had accepted its batch; ``began``: when its command was started.
    :ivar seconds: how long its command ran; ``cpu_s``: the processor time of it and its child processes.
    :ivar cores: and ``memory_mib``, asked for by the document or the binding, for all processes together.
    :ivar bytes_in: size of its input files; ``bytes_out``: of its output files.
    :ivar directory: absolute path of its job directory at the location.
    :ivar memory_used_mib: the most memory that it used at a time, rounded up.
    :ivar staging_began: when its inputs began to be brought there, and ``collected``: when its outputs were known; both
        by Airflow's clock, and the same for all jobs of a batch.
    :ivar processes: that an MPI runner starts; 0: not an MPI job.
    :ivar resubmission: how often a rule (``on``) of its binding had submitted it in that try before.
    :ivar rule: what such a rule did about its failure, or why it did nothing; ``""``: no rule is about it.
    """

    step: str
    index: str
    deployment: str
    service: str
    location: str
    state: JobState
    reason: str = ""
    exit_code: int | None = None
    attempt: int = 1
    reused: bool = False
    scheduler_id: str = ""
    node: str = ""
    submitted: float | None = None
    began: float | None = None
    seconds: float | None = None
    cpu_s: float | None = None
    cores: float | None = None
    memory_mib: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    directory: str = ""
    memory_used_mib: int | None = None
    staging_began: float | None = None
    collected: float | None = None
    processes: int = 0
    resubmission: int = 0
    rule: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """By which the attempts of a job follow each other."""
        return self.attempt, self.resubmission

    @property
    def attempt_name(self) -> str:
        """``2``; of an attempt that a rule submitted, ``2.1``: the first one in the task's second try."""
        return f"{self.attempt}.{self.resubmission}" if self.resubmission else str(self.attempt)

    @property
    def reason_and_rule(self) -> str:
        """Why it failed, and what a rule did about it."""
        return "; ".join(text for text in (self.reason, self.rule) if text)

    @property
    def name(self) -> str:
        """Its name for people, as ``airflow hybrid logs`` takes it."""
        return job_name(self.step, self.index)

    @property
    def ended(self) -> float | None:
        """When its command had ended."""
        return None if self.began is None or self.seconds is None else self.began + self.seconds

    @property
    def waited_s(self) -> float | None:
        """How long it was in the queue: its clock and the scheduler's may differ by a little."""
        if self.submitted is None or self.began is None:
            return None
        return max(0.0, self.began - self.submitted)


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is that has not ended: numbers of jobs.

    :ivar reasons: why jobs do not run, in the scheduler's words; ``unknown``: why the state is unknown, or ``""``.
    :ivar scheduler_ids: of its parts.
    :ivar since: when it was submitted, or taken over, in seconds since the epoch by Airflow's clock.
    :ivar failed: how many of those that have ended did not succeed; None: the document says which exit codes are a
        success, and the site counts only those that are not 0.
    """

    step: str
    place: str
    total: int
    ended: int = 0
    running: int = 0
    pending: int = 0
    reasons: tuple[str, ...] = ()
    unknown: str = ""
    scheduler_ids: tuple[str, ...] = ()
    directory: str = ""
    since: float = 0.0
    failed: int | None = None


@dataclass(frozen=True)
class Activity:
    """What is done here for some jobs of a step: before they are submitted, or when they have ended.

    :ivar what: ``staging inputs``.
    :ivar jobs: how many; ``ended``: how many of them have ended, and ``failed``: did not succeed.
    """

    step: str
    place: str
    what: str
    jobs: int
    ended: int = 0
    failed: int = 0


@dataclass(frozen=True)
class JobsReport:
    """The jobs of a task: those that have ended, and how far the batches of the others are.

    :ivar at: when it was made, in seconds since the epoch.
    """

    records: tuple[JobRecord, ...] = ()
    batches: tuple[BatchProgress, ...] = ()
    at: float = 0.0

    def to_json(self) -> JsonValue:
        return {
            "version": REPORT_VERSION,
            "at": round(self.at, 2),
            "records": packed(self.records),
            "batches": [
                {**vars(batch), "reasons": list(batch.reasons), "scheduler_ids": list(batch.scheduler_ids)}
                for batch in self.batches
            ],
        }

    @classmethod
    def from_json(cls, value: Any) -> JobsReport:
        """Read a report from an XCom, which a user may have changed.

        :raises ValueError: it is no report, or one of a later version.
        """
        if not isinstance(value, Mapping) or value.get("version") != REPORT_VERSION:
            raise ValueError("not a report about jobs that this version reads")
        batches = value.get("batches")
        if not isinstance(batches, list):
            raise ValueError("a report about jobs without a list of batches")
        at = _checked(value.get("at"), "float", "at")
        return cls(tuple(unpacked(value.get("records"))), tuple(_batch(batch) for batch in batches), at)


# --- records as columns ---------------------------------------------------------------------------------------------

_Column = dict[str, Any]
_TIMES = ("submitted", "began", "staging_began", "collected")
_FIELDS = {f.name: str(f.type) for f in dataclasses.fields(JobRecord)}
_ADDED = {"processes": {"all": 0}, "resubmission": {"all": 0}, "rule": {"all": ""}}
"""columns that reports of earlier versions do not have, and what they mean by it"""
_BATCH_FIELDS = {f.name: str(f.type) for f in dataclasses.fields(BatchProgress)}


def packed(records: Sequence[JobRecord]) -> JsonValue:
    """Records as columns: ``{"count": 2, "columns": {"step": {"all": "/align"}, "cpu_s": {"rows": [1.5, 2.2]}, ...}}``.

    A column has ``all`` (the one value of all rows), ``words`` (values) and ``rows`` (their numbers), ``start`` and
    ``rows`` (the rest of each text), ``from`` and ``rows`` (what is to be added), or ``rows``.
    """
    columns = {name: _column(name, [_plain(getattr(record, name)) for record in records]) for name in _FIELDS}
    return {"count": len(records), "columns": columns if records else {}}


def _plain(value: Any) -> Any:
    if isinstance(value, JobState):
        return value.value
    return round(value, 2) if isinstance(value, float) else value


def _column(name: str, values: list[Any]) -> _Column:
    distinct = dict.fromkeys(values)
    if len(distinct) == 1:
        return {"all": values[0]}
    if 2 * len(distinct) <= len(values):
        numbers = {word: number for number, word in enumerate(distinct)}
        return {"words": list(numbers), "rows": [numbers[value] for value in values]}
    if not all(isinstance(value, str) for value in values):
        known = [value for value in values if value is not None]
        if name not in _TIMES or not known:
            return {"rows": values}
        start = math.floor(min(known))
        return {"from": start, "rows": [None if value is None else round(value - start, 2) for value in values]}
    start_text = _common_start(values)
    return {"start": start_text, "rows": [value[len(start_text) :] for value in values]}


def _common_start(values: Sequence[str]) -> str:
    low, high = min(values), max(values)
    length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:length]


def unpacked(value: Any) -> list[JobRecord]:
    """The records of :func:`packed`.

    :raises ValueError: it is something else.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("columns"), Mapping):
        raise ValueError("records of jobs without columns")
    count = value.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_RECORDS:
        raise ValueError("records of jobs without a number of them that is possible")
    if not count:
        return []
    columns = {**_ADDED, **value["columns"]}
    return _records({name: _values(columns.get(name), count, name) for name in _FIELDS}, count)


def _records(columns: Mapping[str, Iterable[Any]], count: int) -> list[JobRecord]:
    """Records of checked columns, filled a column at a time: the initializer of a frozen class takes three times as
    long, which would be most of what a large run takes to read.
    """
    records = list(map(JobRecord.__new__, itertools.repeat(JobRecord, count)))
    for name, values in columns.items():
        fill = getattr(JobRecord, name).__set__  # of the slot: the class itself lets nobody set anything
        deque(map(fill, records, values), maxlen=0)
    return records


def _values(column: Any, count: int, name: str) -> Iterable[Any]:
    """The values of a column, checked all at once: there may be thousands."""
    if not isinstance(column, Mapping):
        raise ValueError(f"records of jobs without {name}")
    kind = _FIELDS[name]
    if "all" in column:
        return itertools.repeat(_checked(column["all"], kind, name), count)
    rows = column.get("rows")
    if not isinstance(rows, list) or len(rows) != count:
        raise ValueError(f"records of jobs with another number of values of {name}")
    if "words" in column:
        words = _checked_all(column["words"], kind, name)
        _checked_all(rows, "int", name)
        if min(rows) < 0 or max(rows) >= len(words):
            raise ValueError(f"records of jobs with a number of {name} that has no word")
        return list(map(words.__getitem__, rows))
    if "start" in column:
        start = _checked(column["start"], "str", name)
        rests = _checked_all(rows, "str", name)
        if len(start) * count + sum(map(len, rests)) > _MOST_TEXT:
            raise ValueError(f"records of jobs with more text in {name} than is read")
        return _checked_all([start + rest for rest in rests], kind, name)
    if "from" in column:
        offset = _checked(column["from"], "int", name)
        rows = _checked_all(rows, "float | None", name)
        return _checked_all([None if row is None else round(offset + row, 2) for row in rows], kind, name)
    return _checked_all(rows, kind, name)


_TYPES: Mapping[str, frozenset[type]] = {
    "str": frozenset({str}),
    "bool": frozenset({bool}),
    "int": frozenset({int}),
    "float": frozenset({int, float}),
}


def _checked_all(values: Any, kind: str, name: str) -> list[Any]:
    """Values of a field's type; by the set of their types, which takes a tenth of the time of a look at each.

    :raises ValueError: one has another type.
    """
    if not isinstance(values, list):
        raise ValueError(f"records of jobs whose {name} are no list")
    plain, optional, _ = kind.partition(" | None")
    allowed = _TYPES.get(plain)
    if allowed is None:
        return [_checked(value, kind, name) for value in values]
    types = set(map(type, values))
    if not types <= (allowed | {type(None)} if optional else allowed):
        raise ValueError(f"a record of a job whose {name} is not what it should be")
    if str in types and max(map(len, values), default=0) > _LONGEST_TEXT:
        raise ValueError(f"records of jobs with a longer text in {name} than is read")
    known = [value for value in values if value is not None] if type(None) in types else values
    if types & {int, float} and not _are_numbers(known, may_be_nan=float in types):
        raise ValueError(f"a record of a job whose {name} is not what it should be")
    return values


def _are_numbers(values: Sequence[float], *, may_be_nan: bool) -> bool:
    """Whether none is infinite, NaN, or an integer larger than any number of the machine."""
    if not (_is_number(min(values)) and _is_number(max(values))):
        return False
    if not may_be_nan:
        return True
    try:
        return not math.isnan(sum(values))
    except OverflowError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST < value < _MOST


_MOST = 1e18
"""no amount is larger, so that a product of some is still a number; NaN is not smaller either"""
_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str) and len(value) <= _LONGEST_TEXT,
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and _is_number(value),
    "float": _is_number,
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "JobState": lambda value: isinstance(value, str) and value in JobState.__members__,
}


def _checked(value: Any, kind: str, name: str) -> Any:
    """A value of a field's type.

    :raises ValueError: it has another one.
    """
    plain, optional, _ = kind.partition(" | None")
    if value is None and optional:
        return None
    if not _KINDS[plain](value):
        raise ValueError(f"a record of a job whose {name} is not what it should be")
    if plain == "JobState":
        return JobState[value]
    return tuple(value) if plain.startswith("tuple") else value


def _batch(value: Any) -> BatchProgress:
    if not isinstance(value, Mapping):
        raise ValueError("a batch in a report about jobs that is none")
    return BatchProgress(**{name: _checked(value.get(name), kind, name) for name, kind in _BATCH_FIELDS.items()})
