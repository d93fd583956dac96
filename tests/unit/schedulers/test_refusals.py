# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What schedulers say when they refuse a job, each judged: the same next time, or something that passes.

The texts are those of Slurm's slurm_errno.c, of OpenPBS's pbs_messages.c, of Torque's svr_chk_owner.c and
req_quejob.c, of Grid Engine's msg_qmaster.h, of Flux's job-ingest and of the Kubernetes API.
"""

from __future__ import annotations

import pytest

from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler

SLURM_PASSES = """Required partition not available (inactive or drain)
Required node not available (down, drained or reserved)
Requested partition configuration not available now
Requested nodes are busy
Licenses not available
Partition in DOWN state
Requested reservation is in use
Requested reservation not usable now
Job can not start due to maintenance reservation.
System submissions disabled
Requested operation is presently disabled
Slurm backup controller in standby mode
Unable to create job record, try again
Job update not available right now, the DB index is being set, try again in a bit
Slurm temporarily unable to accept job, sleeping and retrying
Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
Requested account has breached requested QOS usage threshold
Switch resources currently not available
Required power not available now
Required power at least partially reserved
Required ports are in use
Burst Buffer resource limit exceeded
Waiting for burst buffer
Immediate execution impossible, insufficient priority
Job can not start immediately
SlurmctldProlog is still running
Reboot already in progress
Error generating job credential
Invalid job credential
Protocol authentication error
I/O error writing script/environment to file
Slurm internal error, contact system administrator
Error configuring interconnect
Message send failure
Incompatible versions of client and server code
Plugin initialization failed
QOSMaxSubmitJobPerUserLimit
AssocMaxSubmitJobLimit
AssocGrpSubmitJobsLimit
QOSGrpCpuLimit"""

SLURM_FOR_GOOD = """Invalid partition name specified
No partition specified or system default partition
Access/permission denied
User's group not permitted to use this partition
Requested nodes not in this partition
More processors requested than permitted
Node count specification invalid
Job size specification needs to be provided
Job script not specified
Invalid user id
Pathname of a file, directory or other parameter too long
Requested node configuration is not available
Requested topology configuration is not available
Invalid node name specified
Task distribution specification invalid
Invalid feature specification
Requested operation not supported on this system
Job dependency problem
Only batch jobs are accepted or processed
Requested more tasks than available processors
Memory required by task is not available
Invalid account or account/partition combination specified
Invalid qos specification
Invalid wckey specification
Invalid license specification
Requested time limit is invalid (missing or exceeds some limit)
Time limit specification required, but not provided
Access denied to requested reservation
Requested reservation is invalid
Requires more ports than can be reserved
CPU count specification invalid
Circular job dependency
Invalid generic resource (gres) specification
Invalid job array specification
Burst Buffer request invalid
Requested GRES option unsupported by configured SelectType plugin
Invalid time-min specification (exceeds job's time or other limits)
Memory specification can not be satisfied
CPU count per node can not be satisfied
QOSMaxWallDurationPerJobLimit
AssocMaxCpuPerJobLimit"""

PBS_PASSES = """Queue is not enabled
Request not allowed: Server shutting down
Resource temporarily unavailable
Maximum number of jobs already in queue workq
Maximum number of jobs for user u already in complex
would exceed complex's per-user limit of jobs in 'Q' state
would exceed limit on resource ncpus in queue workq
PBS license is invalid
Floating License unavailable
Exceeded number of licensed cpus
Invalid credential
Expired credential
No free connections
Server connection table full
Could not contact Scheduler
Batch protocol error
System error:
PBS server internal error
Access from host not allowed, or unknown host
Job rejected by all possible destinations
Resource busy
submit error (Queue is not enabled MSG=queue is disabled)
Job exceeds queue resource limits MSG=cannot locate feasible nodes (nodes file is empty or all systems are busy)"""

PBS_FOR_GOOD = """Unknown queue
Unknown resource: foo
Undefined attribute
Illegal attribute or resource value select.ncpus
Unauthorized Request
Access to queue is denied
Job violates queue and/or server resource limits
No default queue specified
Mutually exclusive values for
Cannot be used with select or place
duplicated resource within a section of a select specification, resource is
Array job exceeds server or queue size limit
jobscript size exceeded the jobscript_max_size
attribute value is out of range
Invalid Account
Unknown Reservation Id
Resource limit exceeds allowable
cannot submit non-rerunable Array Job
Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement
Unauthorized Request  MSG=user ACL rejected the submitting user: u@host, queue long"""

SGE_PASSES = """job rejected: Only 1000 jobs are allowed per user (current job count: 1000)
job rejected: only 1000 jobs are allowed per user (current job count: 1000)
job rejected: Only 5000 jobs are allowed per cluster
can't get password entry for user "u". Either user does not exist or error with NIS/LDAP etc.
got no response from JSV script "/opt/jsv.sh"
commlib error: can't resolve host name
try again later"""

SGE_FOR_GOOD = """job rejected: u@h is not allowed to submit jobs
job rejected: You try to submit a job with more than 75000 tasks
job rejected: your user id 0 is lower than minimum user id 1000 of cluster configuration
job rejected: no script in your request
job rejected: the requested parallel environment "nosuch" does not exist
job rejected: pe range must be greater than zero
job rejected: no project assigned to job
Job was rejected because job requests unknown queue "nosuch.q"
denied: host "h" is no submit host
error: no suitable queues
unknown resource "foo"
attribute "h_rt" is not a time value"""

FLUX_PASSES = """job submission to queue batch is disabled: maintenance until 17:00
job submission is disabled: maintenance
[Errno 11] Resource temporarily unavailable"""

FLUX_FOR_GOOD = """unsatisfiable request
[Errno 22] Invalid queue 'nosuch' specified
No such file or directory"""

KUBERNETES_PASSES = """exceeded quota: q, requested: memory=1Gi, used: memory=8Gi, limited: memory=8Gi
Internal error occurred: failed calling webhook "x.example.org": connection refused
etcdserver: request timed out"""

KUBERNETES_FOR_GOOD = """exceeded quota: q, requested: memory=9Gi, used: memory=0, limited: memory=8Gi
Job.batch "x" is invalid: spec.template.spec.containers[0].image: Required value
jobs.batch is forbidden: User "u" cannot create resource "jobs" in API group "batch" in the namespace "n"
admission webhook "policy.example.org" denied the request: images must come from our registry"""


def cases(scheduler: Scheduler, texts: str, for_good: bool) -> list[tuple[Scheduler, str, bool]]:
    return [(scheduler, text, for_good) for text in texts.split("\n")]


@pytest.mark.parametrize(
    ("scheduler", "said", "for_good"),
    [
        *cases(SlurmScheduler(), SLURM_PASSES, False), *cases(SlurmScheduler(), SLURM_FOR_GOOD, True),
        *cases(PbsScheduler(), PBS_PASSES, False), *cases(PbsScheduler(), PBS_FOR_GOOD, True),
        *cases(SgeScheduler(), SGE_PASSES, False), *cases(SgeScheduler(), SGE_FOR_GOOD, True),
        *cases(FluxScheduler(), FLUX_PASSES, False), *cases(FluxScheduler(), FLUX_FOR_GOOD, True),
        *cases(KubernetesScheduler(), KUBERNETES_PASSES, False),
        *cases(KubernetesScheduler(), KUBERNETES_FOR_GOOD, True),
    ],
    ids=lambda value: value.name if isinstance(value, Scheduler) else str(value)[:40],
)  # fmt: skip
def test_refusals_are_judged(scheduler: Scheduler, said: str, for_good: bool) -> None:
    before = {"slurm": "sbatch: error: Batch job submission failed: ", "pbs": "qsub: ", "sge": "Unable to run job: "}
    assert scheduler.refused_for_good(before.get(scheduler.name, "") + said) is for_good


def test_what_one_job_exceeds_is_refused_for_good_though_the_sentence_on_policies_follows() -> None:
    policy = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)"
    assert SlurmScheduler().refused_for_good(f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{policy}")
    assert not SlurmScheduler().refused_for_good(f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{policy}")


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (SlurmScheduler(), "sbatch: error: Batch job submission failed: Invalid job array specification"),
        (PbsScheduler(), "qsub: Array job exceeds server or queue size limit"),
        (SgeScheduler(), "Unable to run job: job rejected: You try to submit a job with more than 75000 tasks."),
    ],
)
def test_an_array_that_is_too_large_is_told_from_other_refusals(scheduler: Scheduler, said: str) -> None:
    assert scheduler.too_large(said)
    for texts in (SLURM_PASSES, PBS_PASSES, SGE_PASSES):
        assert not [text for text in texts.split("\n") if scheduler.too_large(text)]
