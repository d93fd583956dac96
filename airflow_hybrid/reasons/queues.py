# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a job waits in the queue of PBS, Torque, Grid Engine or Flux, or for cores of a plain host.

PBS: comments of its scheduler (OpenPBS, scheduler/job_info.cpp). Grid Engine: states of qstat(1), and ``scheduling
info`` of ``qstat -j`` (msg_schedd.h). Flux: states of flux-jobs(1).
"""

from __future__ import annotations

from airflow_hybrid.reasons.explanation import Rule

_ESTIMATE = "it starts by itself; `qstat -T {job}` at the site may show an estimate"
_LIMITS = "`qstat -Qf` and `qstat -Bf` at the site list the limits"
_OTHER_QUEUE = "name another `queue` of the service in the hybrid file"
_LESS = "ask for less in the step's ResourceRequirement, or in the service's `resources`"

PBS = (
    Rule(
        r"^Can Never Run: Insufficient amount of (queue "
        r"|server )?resource: (?P<what>\w+)( \(R: (?P<asked>\w+) .*T: (?P<all>\w+)\))",
        "it asks for {asked} of `{what}`, and the site has {all} where it may run, so it will never start",
        f"{_LESS}, or {_OTHER_QUEUE}; `pbsnodes -aSj` at the site lists what nodes have",
    ),
    Rule(
        r"^Can Never Run: Insufficient amount of (queue |server )?resource: (?P<what>\w+)",
        "it asks for more of `{what}` than the site has where it may run, so it will never start",
        f"{_LESS}, or {_OTHER_QUEUE}; `pbsnodes -aSj` at the site lists what nodes have",
    ),
    Rule(
        r"^Can Never Run: Not enough total nodes",
        "it asks for more nodes of this kind than the site has, so it will never start",
        f"{_LESS}, or {_OTHER_QUEUE}; `pbsnodes -aSj` at the site lists what nodes have",
    ),
    Rule(
        r"^Can Never Run: (?P<why>.+)|(?P<never>.*never (run|be satisfied).*)",
        "it will never start as it is: {why}{never}",
        f"{_LESS}, or {_OTHER_QUEUE}",
    ),
    Rule(
        r"^Not Running: Insufficient amount of (queue |server )?resource: (?P<what>\w+)",
        "too little of `{what}` is free",
        _ESTIMATE,
        passes=True,
    ),
    Rule(
        r"^Not Running: (Not enough (free nodes|of the right type)|No available resources|Too few free"
        r"|.* set .* too few free"
        r"|Nodes not available|.*exclusive node and node is in use|Can't preempt enough)",
        "too few nodes are free",
        _ESTIMATE,
        passes=True,
    ),
    Rule(
        r"^Not Running: Job would (conflict with reservation or top job|break strict)"
        r"|Draining system to allow starving",
        "jobs with a higher priority, or a reservation, come first",
        _ESTIMATE,
        passes=True,
    ),
    Rule(
        r"^Not Running: (?P<why>.*(limit|has reached).*)",
        "a limit on what runs at a time is reached: {why}",
        f"it starts when others have ended; {_LIMITS}, or {_OTHER_QUEUE}",
    ),
    Rule(
        r"^Not Running: Queue not started",
        "its queue accepts jobs and starts none",
        f"wait until the site starts it (`qstat -Q`), or {_OTHER_QUEUE}",
    ),
    Rule(
        r"^Not Running: .*(dedicated time|primetime|prime boundary|cross into)",
        "it would run into hours that the site reserves for other jobs",
        "it starts after them; a shorter `walltime` of the service (`resources`) may fit before them",
    ),
    Rule(
        r"^Not Running: Node is in an ineligible state: (?P<state>[\w,-]+)",
        "the nodes that it needs are {state}",
        "it starts when they are back; `pbsnodes -l` at the site lists such nodes with the reason",
    ),
    Rule(
        r"^Not Running: .*zero shares",
        "its account has no share of the site",
        "ask the site's administrators, or name another `project` or `account` of the service in the hybrid file",
    ),
    Rule(
        r"^Not Running: PBS Error: (?P<why>.+)",
        "PBS could not start it: {why}",
        "PBS tries it again; if that goes on, ask the site's administrators",
    ),
    Rule(
        r"^H\b.*(?P<when>too many failed attempts|failed \d+ times)",
        "PBS could not start it several times, and holds it",
        "`qrls {job}` at the site lets it try again; if that fails, ask the site's administrators",
    ),
    Rule(r"^H\b", "it is on hold", "`qrls {job}` at the site releases it; where an administrator holds it, ask them"),
    Rule(
        r"^W\b",
        "its earliest start is still to come, or files that the service stages failed to arrive",
        "`qstat -f {job}` at the site shows `Execution_Time`; `begin` of the service sets it",
        passes=True,
    ),
    Rule(r"^[QT]$", "PBS has not said yet why it waits", _ESTIMATE, passes=True),
)

_SCHEDULING_INFO = "`qstat -j {job}` at the site says why under `scheduling info`, where the site collects that"

SGE = (
    Rule(
        r"^E[hRTts]*qw\s.*can't chdir to (?P<folder>\S+): No such file",
        "the node that was to run it does not have the folder {folder}",
        "is `workdir` of the deployment on a file system that all nodes share? `qmod -cj {job}` lets it try again",
    ),
    Rule(
        r"^E[hRTts]*qw\s+(?P<why>\S.*)",
        "it failed to start, and will not start as it is: {why}",
        "after a repair, `qmod -cj {job}` at the site lets it try again",
    ),
    Rule(
        r"^E[hRTts]*qw$|Job is in error state",
        "it failed to start, and will not start as it is",
        "`qstat -j {job}` at the site shows the `error reason`; after a repair, `qmod -cj {job}` lets it try again",
    ),
    Rule(
        r"^h[RTts]*qw\b|job is in hold state|because of .*hold|job dependencies",
        "it is on hold",
        "`qrls {job}` at the site releases it; where an administrator holds it, ask them",
    ),
    Rule(
        r"cannot run in PE \"(?P<pe>[^\"]+)\" because it only offers (?P<slots>-?\d+) slots",
        "the parallel environment {pe} offers {slots} slots where it may run",
        "it starts when others have ended; if that is all there ever are, lower `coresMin` of the step's"
        " ResourceRequirement, or name another `pe` of the service in the hybrid file",
    ),
    Rule(
        r"\(-l ?(?P<asked>[^)]+)\) cannot run (globally|at host|in queue).* because (?P<why>.+)",
        "what it asks for ({asked}) is not to be had: {why}",
        "it starts when others have ended; if the site never has as much, ask for less in the step's"
        " ResourceRequirement"
        " or in the service's options",
    ),
    Rule(
        r"has no permission for cluster queue \"(?P<queue>[^\"]+)\"",
        "you may not use the queue {queue}",
        "name another `queue` of the service in the hybrid file; `qconf -sql` at the site lists them",
    ),
    Rule(
        r"exceeds limit .*in rule \"?(?P<rule>[^\"]+)\"?",
        "a limit of the site is reached (rule {rule})",
        "it starts when others of yours have ended; `qquota` at the site lists the limits",
    ),
    Rule(r"user(/group)? limitations", "you have as many running jobs as allowed", "it starts when others have ended"),
    Rule(
        r"dropped because it is full|overload or full|dropped because it is overloaded",
        "the queues are full",
        "it starts by itself when other jobs have ended",
        passes=True,
    ),
    Rule(
        r"dropped because it is (disabled|suspended)",
        "a queue is closed: it starts no jobs",
        "wait until the site opens it (`qstat -f`), or name another `queue` of the service in the hybrid file",
    ),
    Rule(
        r"dropped because it is temporarily not available",
        "nodes of its queue do not answer",
        "it starts when they are back; `qstat -f` at the site shows their states",
    ),
    Rule(r"execution time not reached", "its earliest start is still to come", "it starts by itself", passes=True),
    Rule(
        r"^qw$|^Rq$|^[RTt]*qw$",
        "no slot is free for it yet, or others come first",
        f"it starts by itself; {_SCHEDULING_INFO}",
        passes=True,
    ),
)

FLUX = (
    Rule(
        r"^SCHED$",
        "what it asks for is in use by other jobs",
        "it starts by itself; `flux jobs -no '{{annotations.sched.t_estimate}}' {job}` may show an estimate",
        passes=True,
    ),
    Rule(
        r"^PRIORITY$",
        "it has no priority yet: the site holds it, or is computing it",
        "if this goes on, `flux job urgency {job} default` releases a job that is held, or ask the site's"
        " administrators",
    ),
    Rule(
        r"^DEPEND$",
        "it waits for the job or the time that it depends on",
        "it starts by itself; `dependency` or `begin-time` of the service says on which",
        passes=True,
    ),
    Rule(
        r"unsatisfiable",
        "it asks for more than the instance has, so it will never start",
        "ask for less in the step's ResourceRequirement; `flux resource list` at the site shows what there is",
    ),
)

PROCESS = (
    Rule(
        r"they wait for cores that other jobs of this user have; since (?P<since>\S+)"
        r" by process (?P<by>\d+) \((?P<command>[^)]*)\)",
        "other jobs of this user have all cores of the host, one since {since}: process {by} ({command})",
        "it starts when one ends; if that process was left behind, end it there",
    ),
    Rule(
        r"they wait for cores that other jobs of this user have",
        "other jobs of this user have all cores of the host",
        "it starts when one ends; `coresMin` of a step's ResourceRequirement says how many each takes",
        passes=True,
    ),
)
