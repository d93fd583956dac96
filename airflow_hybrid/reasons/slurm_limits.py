# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Limits of accounts and QOS in Slurm, by their names.

Their names are made of parts: whose limit it is, whether of all jobs together or of one, of what, and per what:
``QOSMaxCpuPerUserLimit``, ``AssocGrpGRESRunMinutes`` (https://slurm.schedmd.com/resource_limits.html).
"""

from __future__ import annotations

import re

from airflow_hybrid.reasons.actions import NEXT_TRY_SUBMITS_IT
from airflow_hybrid.reasons.explanation import Explanation

_NAME = re.compile(
    r"^(?P<whose>Assoc(iation)?|QOS)?(?P<kind>Grp|Max|Min|(?=JobLimit|ResourceLimit|TimeLimit))"
    r"(?P<what>SubmitJobs?|WallDuration|Wall|Jobs?|Cpu|Mem(ory)?|Nodes?|GRES|BB|Billing|Energy|License|Unknown"
    r"|Resource|Time)"
    r"(?P<minutes>(Run)?Minutes|(Run)?Mins)?"
    r"(?P<per>PerJob|PerNode|PerUser|PerAccount)?(Limit|NotSatisfied)?\b",
    re.IGNORECASE,
)
_WHAT = {
    "submitjob": "jobs in the queue",
    "submitjobs": "jobs in the queue",
    "job": "running jobs",
    "jobs": "running jobs",
    "wall": "run time",
    "wallduration": "run time",
    "time": "run time",
    "cpu": "cores",
    "mem": "memory",
    "memory": "memory",
    "node": "nodes",
    "nodes": "nodes",
    "gres": "GPUs or other special resources",
    "bb": "burst buffer",
    "billing": "billing units",
    "energy": "energy",
    "license": "licenses",
    "resource": "resources",
    "unknown": "some resource",
}
_UNCOUNTED = frozenset({"memory", "energy", "burst buffer", "some resource"})
_MINUTES = {"cpu": "core minutes", "gres": "GPU minutes"}
_ASK = {
    "cpu": "`coresMin` of the step's ResourceRequirement",
    "mem": "`ramMin` of the step's ResourceRequirement",
    "memory": "`ramMin` of the step's ResourceRequirement",
    "wall": "`time` of the service in the hybrid file (or the step's ToolTimeLimit)",
    "wallduration": "`time` of the service in the hybrid file (or the step's ToolTimeLimit)",
    "node": "`nodes` of the service in the hybrid file",
    "nodes": "`nodes` of the service in the hybrid file",
    "gres": "the step's CUDARequirement, or `gres` of the service in the hybrid file",
}


def of_limit(reason: str) -> Explanation | None:
    """What a limit means for a job; None: the reason is not the name of one."""
    match = _NAME.match(reason)
    if match is None or (match["whose"] is None and (match["per"] or "").lower() != "peraccount"):
        return None
    is_qos = (match["whose"] or "QOS").upper() == "QOS"
    whose, key = ("its QOS", "qos") if is_qos else ("its account", "account")
    what, kind, per = match["what"].lower(), match["kind"].lower(), (match["per"] or "").lower()
    minutes = (match["minutes"] or "").lower()
    word = _MINUTES.get(what, f"minutes of {_WHAT[what]}") if minutes else _WHAT[what]
    show = "`sacctmgr show qos`" if is_qos else "`sacctmgr show assoc user=$USER`"
    other = f"name another `{key}` of the service; {show} at the site lists the limits"
    if kind == "min":
        return Explanation(
            f"it asks for less than {whose} demands ({word}), so it will never start",
            f"raise {_ASK.get(what, 'what the service asks for')}, or {other}",
        )
    is_of_one_job = per in ("perjob", "pernode") or (kind == "max" and what == "wallduration")
    if is_of_one_job:
        where = "on one node" if per == "pernode" else "for one job"
        return Explanation(
            f"it asks for more {word} than {whose} allows {where}, so it will never start",
            f"lower {_ASK.get(what, 'what the service asks for')}, or {other}",
        )
    if what in ("wall", "time") or (minutes and not minutes.startswith("run")):
        return Explanation(
            f"the budget of {whose} is used up ({word})",
            f"ask who manages it for more, or {other}",
        )
    return _in_use(whose, word, per, kind, other)


def _in_use(whose: str, word: str, per: str, kind: str, other: str) -> Explanation:
    """A limit on what is in use at a time: it waits until other jobs have ended."""
    if per == "peraccount":
        users = "its account has"
    elif per == "peruser" or kind == "max":
        users = "you have"
    else:
        users = "all its jobs together have"
    many = "much" if word in _UNCOUNTED else "many"
    return Explanation(
        f"the limit of {whose} is reached: {users} as {many} {word} as allowed at a time",
        f"it starts when others have ended; to be quicker, {other}",
    )


def of_limit_in(message: str) -> Explanation | None:
    """What the limit means that a refusal names, as in ``sbatch: error: QOSMaxSubmitJobPerUserLimit``; None: none."""
    match = re.search(r"\b(Assoc|QOS)(Grp|Max|Min)\w+", message)
    if match is None:
        return None
    limit = of_limit(match[0])
    if limit is None or "SubmitJob" not in match[0]:
        return limit
    fewer = "lower `maxConcurrentJobs` of the deployment, so that fewer jobs are in the queue at a time"
    return Explanation(limit.sentence, f"{fewer}; {NEXT_TRY_SUBMITS_IT}")
