# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a job waits at a site."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from airflow_hybrid.reasons import kubernetes, queues, slurm
from airflow_hybrid.reasons.explanation import Explanation, Rule, first_of, one_line

_Explain = Callable[[str, Mapping[str, str]], Explanation | None]


def _by(rules: Sequence[Rule]) -> _Explain:
    return functools.partial(first_of, rules)


_BY_SCHEDULER: Mapping[str, _Explain] = {
    "slurm": slurm.of_reason,
    "pbs": _by(queues.PBS),
    "sge": _by(queues.SGE),
    "flux": _by(queues.FLUX),
    "process": _by(queues.PROCESS),
    "kubernetes": kubernetes.of_reason,
}
"""by the scheduler's name; their words differ, so they can be tried one after the other, too"""
_MORE: Mapping[str, str] = {
    "slurm": "`scontrol show job {job}` at the site shows what Slurm knows of it",
    "pbs": "`qstat -f {job}` at the site shows what PBS knows of it",
    "sge": "`qstat -j {job}` at the site shows what Grid Engine knows of it",
    "flux": "`flux job info {job} eventlog` at the site shows what Flux knows of it",
    "kubernetes": "`kubectl describe pods -l job-name={job}` shows the events",
}


def pending(reason: str, scheduler: str = "", job_id: str = "") -> Explanation:
    """Why a job waits.

    :param reason: in the scheduler's words; more may follow them, after a colon.
    :param scheduler: its name; ``""``: unknown.
    :param job_id: for commands that a remedy names.
    """
    text = one_line(reason)
    if not text:
        return Explanation("the scheduler does not say why it waits", passes=True)
    tables = [_BY_SCHEDULER[scheduler]] if scheduler in _BY_SCHEDULER else list(_BY_SCHEDULER.values())
    words = {"job": one_line(job_id) or "JOB"}
    for explain in tables:
        explanation = explain(text, words)
        if explanation is not None:
            return explanation
    return Explanation(text, _MORE.get(scheduler, "").format_map(words), known=False)


def told(reason: str, scheduler: str) -> str:
    """A reason with what it means and what to do, for a log; ``""`` for one that passes by itself or is unknown."""
    if scheduler not in _BY_SCHEDULER:
        return ""
    explanation = pending(reason, scheduler)
    if explanation.passes or not explanation.known:
        return ""
    return f"{reason}: {explanation}"
