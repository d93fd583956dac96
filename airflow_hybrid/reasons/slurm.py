# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a job waits in Slurm's queue.

All reasons of https://slurm.schedmd.com/job_reason_codes.html (``squeue -o %r``; Slurm's job_state_reason.c) that a job
in the queue may have, and the texts of those that slurmctld writes as a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_hybrid.reasons.actions import CLEAR
from airflow_hybrid.reasons.explanation import Explanation, Rule, first_of
from airflow_hybrid.reasons.slurm_limits import of_limit

_STARTS_SOONER = (
    "it starts by itself; `squeue --start -j {job}` shows the site's estimate, and a shorter `time` of the service lets"
    " Slurm fill gaps with it"
)
_NODES = "`sinfo -R` at the site says why nodes are away, `scontrol show reservation` which maintenance is planned"
_FOR_THIS_SITE = "name another one in the hybrid file (`account`, `qos` or `partition` of the service);"
_MINE = "`sacctmgr show assoc user=$USER` at the site lists yours"
_ADMINISTRATORS = "ask the site's administrators; `scontrol show job {job}` shows what they will want to see"

_WAITS = (
    Rule(r"^(None|WaitingForScheduling)$", "Slurm has not said yet why it waits", _STARTS_SOONER, passes=True),
    Rule(r"(?-i:^Priority\b)", "jobs with a higher priority come first", _STARTS_SOONER, passes=True),
    Rule(r"^Resources\b", "what it asks for is in use by other jobs", _STARTS_SOONER, passes=True),
    Rule(
        r"^SchedDefer\b",
        "the site looks at new jobs only in the next round of its scheduler",
        "it starts by itself",
        passes=True,
    ),
    Rule(
        r"^JobArrayTaskLimit\b",
        "as many jobs of its array run as may run at a time",
        "it starts when another one has ended; for more at a time, raise `maxConcurrentJobs` of the deployment",
        passes=True,
    ),
    Rule(
        r"^BeginTime\b",
        "its earliest start is still to come",
        "it starts by itself; the time is `begin` of the service, or Slurm's pause after it was queued again",
        passes=True,
    ),
    Rule(
        r"^Licenses\b",
        "the licenses that it asks for are in use",
        "it starts when others have ended; `scontrol show licenses` at the site shows who has how many",
        passes=True,
    ),
    Rule(r"^Prolog\b", "the site's preparations for it still run", "it starts by itself", passes=True),
    Rule(
        r"^Cleaning\b",
        "it was queued again, and its last run is still being cleaned up",
        "it starts by itself",
        passes=True,
    ),
    Rule(
        r"^BurstBufferStageIn\b", "its files are being copied to the burst buffer", "it starts by itself", passes=True
    ),
    Rule(r"^BurstBufferResources\b", "the burst buffer is full", "it starts when others have ended", passes=True),
    Rule(
        r"^Power(NotAvail|Reserved)\b",
        "the site's limit for electric power is reached",
        "it starts when others have ended",
        passes=True,
    ),
    Rule(
        r"^FedJobLock\b",
        "the clusters of the federation decide which of them runs it",
        "it starts by itself",
        passes=True,
    ),
    Rule(
        r"^Reservation\b",
        "its reservation has not begun yet",
        "it starts by itself; `scontrol show reservation` at the site shows when",
        passes=True,
    ),
    Rule(
        r"^Dependency\b",
        "it waits for the job that it depends on",
        "it starts by itself; `dependency` of the service says on which",
        passes=True,
    ),
)
"""reasons that pass by themselves"""

_NODES_AWAY = (
    Rule(
        r"^ReqNodeNotAvail\b\W*UnavailableNodes:(?P<nodes>[^\s)]+)",
        "nodes that it needs are down, drained or reserved: {nodes}",
        f"it starts when they are back; before a maintenance, a shorter `time` of the service may still fit; {_NODES}",
    ),
    Rule(
        r"^ReqNodeNotAvail\b.*(reserved|maintenance)",
        "nodes that it needs are reserved, for a maintenance or for others",
        f"it starts when the reservation is over; a shorter `time` of the service may fit before it; {_NODES}",
    ),
    Rule(
        r"^(ReqNodeNotAvail\b|Nodes.required.for.job.are.DOWN)",
        "nodes that it needs are down, drained or reserved",
        f"it starts when they are back; before a maintenance, a shorter `time` of the service may still fit; {_NODES}",
    ),
    Rule(r"^(NodeDown|FrontEndDown)\b", "a node that it needs is down", f"it starts when the node is back; {_NODES}"),
)

_SOMEBODY_ACTS = (
    Rule(
        r"^JobHeldUser\b",
        "you, or a program of yours, have put it on hold",
        "`scontrol release {job}` at the site lets it start",
    ),
    Rule(r"^JobHeldAdmin\b", "an administrator of the site has put it on hold", _ADMINISTRATORS),
    Rule(
        r"^(JobHoldMaxRequeue|launch.failed.requeued.held|job.requeued.in.held.state|JobLaunchFailure|SystemFailure)\b",
        "the site could not start it, and has put it on hold",
        "`scontrol release {job}` at the site lets it try again; if that fails, ask the site's administrators",
    ),
    Rule(
        r"^PartitionDown\b",
        "its partition is closed: it accepts jobs and starts none",
        "wait until the site opens it (`sinfo -s`), or name another `partition` of the service in the hybrid file",
    ),
    Rule(
        r"^PartitionInactive\b",
        "its partition is closed: it neither accepts nor starts jobs",
        "wait until the site opens it (`sinfo -s`), or name another `partition` of the service in the hybrid file",
    ),
    Rule(
        r"^QOSUsageThreshold\b",
        "its account has used more than its QOS allows",
        "it waits until the usage has faded; ask who manages the account, or name another `qos` of the service",
    ),
    Rule(r"^InactiveLimit\b", "the site's limit for inactive jobs was reached", _ADMINISTRATORS),
    Rule(r"^BurstBufferOperation\b", "an operation on the burst buffer failed", _ADMINISTRATORS),
)

_NEVER = (
    Rule(
        r"^DependencyNeverSatisfied\b",
        "the job that it depends on has failed, so it will never start",
        f"repair that job, or remove `dependency` of the service; then {CLEAR}",
    ),
    Rule(
        r"^PartitionTimeLimit\b",
        "it asks for more time than the partition allows, so it will never start",
        "lower `time` of the service in the hybrid file (or the step's ToolTimeLimit), or name another `partition`;"
        " `sinfo -o '%P %l'` at the site lists the limits",
    ),
    Rule(
        r"^PartitionNodeLimit\b",
        "it asks for more nodes than the partition allows, or too many of these are down",
        "lower `nodes` of the service, or name another `partition`; `sinfo -s` at the site shows what it has",
    ),
    Rule(
        r"^(PartitionConfig|(Bad)?Constraints)\b",
        "no node of the partition has what it asks for, so it will never start",
        "ask for less in the step's ResourceRequirement (or `constraint`, `gres` and the like of the service), or name"
        " another `partition`; `sinfo -o '%P %c %m %G %f'` at the site lists cores, MB, GPUs and features",
    ),
    Rule(
        r"^MaxMemPerLimit\b",
        "it asks for more memory per core or node than the site allows, so it will never start",
        "lower `ramMin` of the step's ResourceRequirement, or ask for more cores with it",
    ),
    Rule(
        r"^(InvalidAccount|AccountNotAllowed)\b",
        "its account may not be used there, so it will never start",
        f"{_FOR_THIS_SITE} {_MINE}",
    ),
    Rule(
        r"^(InvalidQOS|QOSNotAllowed)\b",
        "its QOS may not be used there, so it will never start",
        f"{_FOR_THIS_SITE} {_MINE}",
    ),
    Rule(
        r"^AccountingPolicy\b",
        "the site's rules for accounts do not allow it as it is",
        f"{_FOR_THIS_SITE} {_MINE}, `scontrol show job {{job}}` what it asks for",
    ),
    Rule(
        r"^Reservation(Deleted|Invalid)\b",
        "its reservation no longer exists",
        f"change or remove `reservation` of the service in the hybrid file, then {CLEAR}",
    ),
    Rule(
        r"^DeadLine\b",
        "it can no longer end before its deadline",
        f"change `deadline` of the service, then {CLEAR}",
    ),
)

_RULES = (*_WAITS, *_NODES_AWAY, *_SOMEBODY_ACTS, *_NEVER)


def of_reason(reason: str, words: Mapping[str, str]) -> Explanation | None:
    """Why a job waits; None: none of Slurm's reasons that are known here.

    :param reason: the reason, and perhaps more after it, in one line.
    :param words: ``job``: its id.
    """
    return of_limit(reason) or first_of(_RULES, reason, words)
