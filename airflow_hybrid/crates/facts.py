# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is known of a run, before it is a crate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.model.values import CwlObject
from airflow_hybrid.overviews.replays import RunReplays

JobKey = tuple[str, str]
"""path of a step, and which of its jobs (:attr:`JobRecord.index`)"""


@dataclass(frozen=True)
class JobValues:
    """The values of one job; None: not known.

    :ivar inputs: by the step's ports, before ``valueFrom``.
    :ivar outputs: by the step's ports.
    """

    inputs: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RunFacts:
    """A run.

    :ivar document: in one piece, with ``$graph``; ``document_files``: files that it names, path -> name beside it.
    :ivar single: path of the only step, where the document is a tool.
    :ivar began: and ``ended``, in seconds since the epoch; None: unknown, or not yet.
    :ivar user: who triggered it, by Airflow's name.
    :ivar outputs: None: it has none, as it failed.
    :ivar jobs: every attempt of every job that has ended.
    :ivar values: of jobs, as far as tasks have published them.
    :ivar versions: program -> version.
    :ivar replays: what was lost and made again; ``steps_of_tasks``: paths of the steps that tasks run, by their ids.
    """

    name: str
    dag_id: str
    run_id: str
    succeeded: bool
    document: Mapping[str, Any]
    inputs: CwlObject
    outputs: CwlObject | None
    jobs: Sequence[JobRecord]
    document_files: Mapping[str, str] = field(default_factory=dict)
    single: str = ""
    began: float | None = None
    ended: float | None = None
    user: str = ""
    values: Mapping[JobKey, JobValues] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    replays: RunReplays = field(default_factory=RunReplays)
    steps_of_tasks: Mapping[str, str] = field(default_factory=dict)
