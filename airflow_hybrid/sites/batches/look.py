# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One question to a place before jobs are placed: earlier choices, its capacity, when a job would start."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model import Resources
from airflow_hybrid.schedulers.base import Scheduler, Submission
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.sites.batches.queue import OUR_OPTIONS
from airflow_hybrid.sites.hosts.base import TASK_BYTES, Host, answers_up_to

LOOK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class SiteLook:
    """A place's answer.

    :ivar placed: (job key, deployment, service or ``-``, location) of earlier choices for the same task.
    :ivar wait_s: the site's estimate; None: not asked, or unknown; then ``words`` has the site's reason.
    :ivar on_host: jobs are processes of the host.
    """

    placed: tuple[tuple[str, str, str, str], ...] = ()
    capacity: Capacity = field(default_factory=Capacity)
    wait_s: float | None = None
    words: str = ""
    on_host: bool = False


@dataclass(frozen=True)
class Enquiry:
    """A question to a place, for jobs with the same needs.

    :ivar options: of the service that would run them.
    :ivar load: ask for capacity even if that costs a command; ``wait``: ask when a job would start.
    """

    resources: Resources = field(default_factory=Resources)
    options: Mapping[str, Any] = field(default_factory=dict)
    load: bool = False
    wait: bool = False


async def look(host: Host, scheduler: Scheduler | None, task_directory: str, enquiry: Enquiry) -> SiteLook:
    """Ask a place, in one command.

    :param scheduler: None: the place has no scheduler that could be asked.
    :raises SiteError: the place does not answer.
    """
    parts = [f"cat {shlex.quote(task_directory + '/placed')} 2>/dev/null", "echo '#look'"]
    on_host = scheduler is not None and scheduler.on_host
    if scheduler is not None:
        submission = submission_for(enquiry.options, task_directory, enquiry.resources)
        if enquiry.load or on_host:
            parts.append(f"( {scheduler.capacity_command(submission) or ':'}\n) </dev/null")
        if enquiry.wait and (text := scheduler.wait_command(submission)):
            parts.append(f"( {text}\n) </dev/null")
    with answers_up_to(TASK_BYTES):  # all choices for the task's jobs, and a line for each of a cluster's nodes
        answer = await host.run("\n".join([*parts, ":"]), timeout_s=LOOK_TIMEOUT_S, label="look at the place")
    notes, _, answer_text = answer.out.partition("#look\n")
    wait_s, words = scheduler.parse_wait(answer_text) if scheduler is not None and enquiry.wait else (None, "")
    return SiteLook(
        tuple(_entries(notes)),
        scheduler.parse_capacity(answer_text) if scheduler is not None else Capacity(),
        wait_s,
        words,
        on_host,
    )


def submission_for(options: Mapping[str, Any], directory: str, resources: Resources | None = None) -> Submission:
    """A job that does not exist yet, for questions to its scheduler; ``options``: those of its service."""
    needs = resources or Resources()
    return Submission(
        directory=directory,
        name="estimate",
        jobs=1,
        resources=needs,
        walltime_s=needs.walltime_s,
        options={key: value for key, value in options.items() if key not in OUR_OPTIONS},
        template=options.get("template"),
    )


def _entries(text: str) -> list[tuple[str, str, str, str]]:
    """The complete lines of a ``placed`` file; a line that a kill cut off is left out."""
    placed = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 5 and fields[4] == ".":
            placed.append((fields[0], fields[1], fields[2], fields[3]))
    return placed
