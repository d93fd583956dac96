# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The metrics: name, kind, tags, and what they count. The page ``docs/reference/metrics.md`` is made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "timer"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    :ivar name: as Airflow sends it, without its prefix.
    :ivar tags: their names, in the order in which their values follow the name where tags are unknown. Every gauge has
        ``hostname`` as its last one, which is filled in where it is sent.
    """

    name: str
    kind: Kind
    tags: tuple[str, ...]
    description: str


JOBS_SUBMITTED = Metric(
    "hybrid.jobs.submitted", "counter", ("deployment",), "Jobs that a batch was submitted with; once per attempt."
)
JOBS_ENDED = Metric(
    "hybrid.jobs.ended", "counter", ("deployment", "state"),
    "Jobs that ended, once per attempt. `state` is `success`, `failed` (its exit code says so), or the scheduler's"
    " reason: `timeout`, `out_of_memory`, `node_fail`, `preempted`, `cancelled`, `disk_full`, `lost`.",
)  # fmt: skip
JOBS_RUNNING = Metric(
    "hybrid.jobs.running", "gauge", ("deployment", "hostname"),
    "Jobs of this triggerer that were running when last asked.",
)  # fmt: skip
JOBS_QUEUED = Metric(
    "hybrid.jobs.queued", "gauge", ("deployment", "hostname"),
    "Jobs of this triggerer that were submitted and not running when last asked.",
)  # fmt: skip
QUEUE_WAIT = Metric(
    "hybrid.jobs.queue_wait", "timer", ("deployment",),
    "From the submission of a batch until its first job was seen running or ended; exact to the interval of the poll."
    " Not of batches that were taken over.",
)  # fmt: skip
STATES_UNKNOWN = Metric(
    "hybrid.jobs.state_unknown", "counter", ("deployment",),
    "Jobs whose state became unknown: the site or its queue did not answer. They go on, and are asked about again.",
)  # fmt: skip
RECOVERED = Metric(
    "hybrid.jobs.recovered", "counter", ("deployment", "how"),
    "Jobs of an earlier try, or of a process that was killed. `how` is `reattached` (taken over, running or ended),"
    " `failed_tried_again`, or `lost_tried_again`; a job may count in two of them.",
)  # fmt: skip
BYTES_MOVED = Metric(
    "hybrid.files.bytes", "counter", ("deployment", "route"),
    "Bytes of files that were brought to a deployment: `link` and `copy` inside of its storage, `direct` from another"
    " site, `relay` through Airflow's machine, `fetch` from the web. Those of a queue are at the deployment it wraps.",
)  # fmt: skip
FILES_MOVED = Metric(
    "hybrid.files.moved", "counter", ("deployment", "route"),
    "Files and folders that were brought to a deployment, by the same routes.",
)  # fmt: skip
TRANSFER_TIME = Metric(
    "hybrid.files.transfer_time", "timer", ("deployment", "route"),
    "How long it took to bring a batch's files there: the sum over its files, some of which may be brought at the"
    " same time.",
)  # fmt: skip
TRANSFERS_FAILED = Metric(
    "hybrid.files.transfers_failed", "counter", ("deployment",),
    "Batches whose files could not be brought to a deployment; tries again of a copy are made before that.",
)  # fmt: skip
SSH_CONNECTIONS = Metric(
    "hybrid.ssh.connections", "gauge", ("deployment", "hostname"), "Open SSH connections of this triggerer."
)
SSH_SESSIONS = Metric(
    "hybrid.ssh.sessions", "gauge", ("deployment", "hostname"), "Commands on SSH connections of this triggerer."
)

METRICS = (
    JOBS_SUBMITTED, JOBS_ENDED, JOBS_RUNNING, JOBS_QUEUED, QUEUE_WAIT, STATES_UNKNOWN, RECOVERED, BYTES_MOVED,
    FILES_MOVED, TRANSFER_TIME, TRANSFERS_FAILED, SSH_CONNECTIONS, SSH_SESSIONS,
)  # fmt: skip
