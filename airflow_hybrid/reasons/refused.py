# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a scheduler refuses a job.

Texts of Slurm's slurm_errno.c, OpenPBS's pbs_messages.c, Torque's req_quejob.c, Grid Engine's msg_qmaster.h, Flux's
job-ingest and limits, and the Kubernetes API.
"""

from __future__ import annotations

from airflow_hybrid.reasons.actions import NEXT_TRY_SUBMITS_IT
from airflow_hybrid.reasons.explanation import Explanation, Rule, first_of, one_line
from airflow_hybrid.reasons.kubernetes import NOT_CREATED
from airflow_hybrid.reasons.slurm_limits import of_limit_in

_ANY = "change the service's options in the hybrid file, or what the step asks for (ResourceRequirement)"
_ACCOUNTS = "`sacctmgr show assoc user=$USER` at the site lists yours"
_AGAIN = f"nothing is wrong with the step; {NEXT_TRY_SUBMITS_IT}"

_SLURM = (
    Rule(
        r"Invalid account or account/partition combination",
        "the account does not exist, or may not use that partition",
        f"correct `account` or `partition` of the service in the hybrid file; {_ACCOUNTS}",
    ),
    Rule(
        r"invalid partition specified: (?P<name>\S+)",
        "there is no partition {name}",
        "correct `partition` of the service in the hybrid file; `sinfo -s` at the site lists them",
    ),
    Rule(
        r"Invalid partition name specified",
        "there is no partition of that name",
        "correct `partition` of the service in the hybrid file; `sinfo -s` at the site lists them",
    ),
    Rule(
        r"No partition specified or system default partition",
        "the site has no default partition",
        "set `partition` of the service in the hybrid file; `sinfo -s` at the site lists them",
    ),
    Rule(
        r"group not permitted to use this partition",
        "you may not use that partition",
        "name another `partition` of the service in the hybrid file, or ask the site's administrators for access",
    ),
    Rule(
        r"Invalid qos specification",
        "the QOS does not exist, or you may not use it",
        f"correct `qos` of the service in the hybrid file; {_ACCOUNTS}, with their QOS",
    ),
    Rule(
        r"Requested time limit is invalid|Time limit specification required",
        "the time that it asks for is more than the partition allows, or is missing",
        "set `time` of the service in the hybrid file (or the step's ToolTimeLimit) to less than the partition's limit;"
        " `sinfo -o '%P %l'` at the site lists the limits",
    ),
    Rule(
        r"Memory (specification can not be satisfied|required by task is not available)",
        "no node of the partition has as much memory as it asks for",
        "lower `ramMin` of the step's ResourceRequirement, or name another `partition`; `sinfo -o '%P %m'` at the site"
        " lists MB per node",
    ),
    Rule(
        r"CPU count per node can not be satisfied|More processors requested than permitted"
        r"|CPU count specification invalid"
        r"|more tasks than available processors",
        "no node of the partition has as many cores as it asks for",
        "lower `coresMin` of the step's ResourceRequirement, or name another `partition`; `sinfo -o '%P %c'` at the"
        " site"
        " lists cores per node",
    ),
    Rule(
        r"Requested node configuration is not available|Invalid feature specification",
        "no node of the partition has what it asks for",
        "ask for less in the step's ResourceRequirement (or `constraint`, `gres` and the like of the service), or name"
        " another `partition`; `sinfo -o '%P %c %m %G %f'` at the site lists cores, MB, GPUs and features",
    ),
    Rule(
        r"Node count specification invalid",
        "it asks for more or fewer nodes than the partition allows",
        "change `nodes` of the service in the hybrid file, or name another `partition`",
    ),
    Rule(
        r"Invalid generic resource \(gres\) specification|GRES option unsupported",
        "the site has no such special resources (GPUs)",
        "correct `gres` or `gpus` of the service in the hybrid file, or remove the step's CUDARequirement;"
        " `sinfo -o '%P %G'` at the site lists them",
    ),
    Rule(
        r"Invalid license specification",
        "the site has no such licenses",
        "correct `licenses` of the service in the hybrid file; `scontrol show licenses` at the site lists them",
    ),
    Rule(
        r"(Requested reservation is invalid|Access denied to requested reservation)",
        "the reservation does not exist, or you may not use it",
        "correct `reservation` of the service in the hybrid file",
    ),
    Rule(
        r"Job dependency problem|Circular job dependency",
        "the job that it is to depend on does not exist",
        "correct `dependency` of the service in the hybrid file",
    ),
    Rule(
        r"Access/permission denied",
        "you may not do that there",
        "the site's rules forbid one of the service's options (`priority`, `reservation`, `account`): remove it, or"
        " ask the"
        " site's administrators",
    ),
    Rule(
        r"(unrecognized|invalid|unknown) option(:| --| ')? ?'?(?P<option>[\w=./-]+)?",
        "sbatch does not know an option: {option}",
        "correct the service in the hybrid file (its keys are sbatch's options)",
    ),
    Rule(
        r"Job violates accounting/QOS policy",
        "a limit of your account or QOS is reached or exceeded",
        "if you have many jobs in the queue, lower `maxConcurrentJobs` of the deployment; else lower `time` or what"
        " the step"
        f" asks for; {_ACCOUNTS} with their limits",
    ),
    Rule(
        r"Required partition not available|Partition in DOWN state|partition configuration not available now",
        "the partition is closed at present",
        f"{_AGAIN}; `sinfo -s` at the site shows its state",
    ),
    Rule(
        r"Unable to contact slurm controller|Socket timed out|Slurm backup controller|temporarily unable to accept job",
        "Slurm's controller did not answer",
        _AGAIN,
    ),
    Rule(
        r"Invalid job array specification",
        "the array is larger than the site allows",
        "`scontrol show config | grep MaxArraySize` at the site shows the limit; it is asked at each submit",
    ),
)

_OTHERS = (
    Rule(
        r"Unknown queue|job requests unknown queue \"?(?P<name>[^\s\"]+)|Invalid queue '(?P<other>[^']+)'",
        "there is no queue of that name {name}{other}",
        "correct `queue` of the service in the hybrid file",
    ),
    Rule(r"no default queue", "the site has no default queue", "set `queue` of the service in the hybrid file"),
    Rule(
        r"satisfy queue max walltime|Resource_List\.walltime|exceeds.*queue.*walltime|duration exceeds policy limit",
        "the time that it asks for is more than the queue allows",
        "lower `walltime` of the service's `resources` in the hybrid file (or the step's ToolTimeLimit), or name"
        " another"
        " `queue`",
    ),
    Rule(
        r"violates queue and/or server resource limits|exceeds (server or )?queue resource limits"
        r"|limit exceeds allowable",
        "it asks for more than the queue allows",
        "ask for less in the step's ResourceRequirement or the service's `resources`, or name another `queue`",
    ),
    Rule(
        r"would exceed .*(per-user )?limit|Maximum number of jobs|only \d+ jobs are allowed per user",
        "you have as many jobs in the queue as allowed",
        f"lower `maxConcurrentJobs` of the deployment; {_AGAIN}",
    ),
    Rule(r"Queue is not enabled|Server shutting down|is disabled", "the queue accepts no jobs at present", _AGAIN),
    Rule(
        r"Unauthorized Request|Access to queue is denied|not allowed to submit|is no submit host",
        "you may not submit there",
        "name another `queue` of the service in the hybrid file, or ask the site's administrators for access",
    ),
    Rule(
        r"Invalid Account|Invalid project|no project assigned|requested project \"(?P<name>[^\"]+)\" does not exist",
        "the account or project does not exist, or is missing {name}",
        "correct `account` or `project` of the service in the hybrid file",
    ),
    Rule(
        r"parallel environment \"(?P<name>[^\"]+)\" does not exist",
        "there is no parallel environment {name}",
        "correct `pe` of the service in the hybrid file; `qconf -spl` at the site lists them",
    ),
    Rule(
        r"(unknown resource:?|Unknown resource type|Undefined attribute|Illegal attribute or resource value)"
        r" *\"?(?P<name>[\w.]+)?",
        "the site has no such resource, or not with that value: {name}",
        "correct the service's resources in the hybrid file",
    ),
    Rule(
        r"no suitable queues",
        "no queue has, or may ever have, what it asks for",
        "ask for less in the step's ResourceRequirement or in the service's options; `qstat -g c` and `qhost` at the"
        " site"
        " show what there is",
    ),
    Rule(
        r"unsatisfiable request",
        "it asks for more than the instance has",
        "ask for less in the step's ResourceRequirement; `flux resource list` at the site shows what there is",
    ),
    Rule(
        r"core count exceeds policy limit|node count exceeds policy limit",
        "it asks for more than the queue allows",
        "ask for less in the step's ResourceRequirement, or name another `queue` of the service",
    ),
    Rule(
        r"Could not contact|cannot connect to server|commlib error|No free connections|etcdserver: request timed out",
        "the scheduler did not answer",
        _AGAIN,
    ),
)


def refused(message: str) -> Explanation:
    """Why a scheduler refuses a job, from its own message."""
    text = one_line(message)
    explanation = of_limit_in(text) or first_of((*_SLURM, *_OTHERS, *NOT_CREATED), text)
    if explanation is None:
        return Explanation(text or "it gives no reason", _ANY, known=False)
    words = " ".join(explanation.sentence.split()).rstrip(": ")
    return Explanation(words, explanation.remedy)
