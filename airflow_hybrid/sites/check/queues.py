# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tests whether a scheduler answers, and whether its queue would accept a job. Nothing is submitted."""

from __future__ import annotations

import asyncio
import shlex

from airflow_hybrid import shell_text
from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import ConfigError, StatusUnknownError
from airflow_hybrid.printable import printable
from airflow_hybrid.schedulers.asking import section
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.schedulers.everybody import in_short, in_words, loads
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.look import submission_for
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.check.findings import FAIL, OK, TIMEOUT_S, Finding, Findings, timed
from airflow_hybrid.sites.connectors import Connector
from airflow_hybrid.sites.connectors.clusters import SCHEDULERS, scheduler_class
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import login_shell_command, path_hint

_CONNECTIONS = shell_text.load(__package__, "connections.sh")
_MOST_DIGITS = 9
_NOWHERE_ID = "0"
"""an id that no job has; a question about it shows whether the queue answers"""


async def try_queue(findings: Findings, scheduler: Scheduler, host: Host, timeout_s: float) -> None:
    """Are the scheduler's programs there, and does its queue answer?"""
    command = "\n".join(
        (
            scheduler.functions(),
            "echo '#need'; ah_need; echo '#rc 0'; echo '#version'",
            f'{{ {scheduler.version_command or ":"}\n}} 2>&1; echo "#rc $?"',
            scheduler.status_command([_NOWHERE_ID]),
        )
    )
    answer, error, seconds = await timed(lambda: host.run(command, timeout_s=timeout_s, label="scheduler"))
    if error is not None or answer is None:
        findings.fail("scheduler", error or ConfigError("no answer"), seconds)
        return
    lacks, version = _sections(answer.out)
    if lacks:
        hint = await login_shell_hint(host, lacks[0], timeout_s) or (
            "is this the right host? `config.path` or `config.profile` of the deployment say where programs are that "
            f"only login shells find (try: ssh <host> command -v {shlex.quote(lacks[0])})"
        )
        findings.add("scheduler", FAIL, f"{scheduler.name}: not installed: {', '.join(lacks)}", seconds, hint)
        return
    problem = _queue_problem(scheduler, answer.out)
    if problem:
        findings.add("scheduler", FAIL, f"{scheduler.name} does not answer: {problem}", seconds,
                     "is its controller running? ask the site; submitted jobs are still waited for")  # fmt: skip
        return
    kind = "its own processes" if isinstance(scheduler, ProcessScheduler) else scheduler.name
    findings.add("scheduler", OK, version or kind, seconds)


async def try_capacity(findings: Findings, connector: Connector, queue: JobQueue, timeout_s: float) -> None:
    """How many cores are free? A scheduler that cannot say, or does not answer, makes no finding."""
    scheduler = queue.scheduler
    try:
        options = connector.options(None)
    except ConfigError:
        return  # jobs need a service, and a service's queue is tried by itself
    text = scheduler.capacity_command(submission_for(options, "/tmp"))
    if not text:
        return
    answer, _, seconds = await timed(lambda: queue.host.run(text, timeout_s=timeout_s, label="free cores"))
    capacity = scheduler.parse_capacity(answer.out) if answer is not None else Capacity()
    if capacity.cores is None or capacity.free_cores is None:
        return
    free = f"{capacity.free_cores:.4g} of {capacity.cores:.4g}"
    detail = f"{free} cores are free (by its load)" if scheduler.on_host else f"{free} cores are free"
    figures = {"free cores": free}
    if capacity.nodes is not None and capacity.free_nodes is not None:
        figures["free nodes"] = f"{capacity.free_nodes} of {capacity.nodes}"
        detail += f", {capacity.free_nodes} of {counted(capacity.nodes, 'node')}"
    findings.tell("capacity", detail, figures, seconds)


async def try_everybody(findings: Findings, queue: JobQueue, timeout_s: float) -> None:
    """How many jobs of everybody run and wait? A scheduler that cannot say, or does not answer, makes no finding."""
    text = queue.scheduler.everybody_command()
    if not text:
        return
    answer, _, seconds = await timed(lambda: queue.host.run(text, timeout_s=timeout_s, label="the whole queue"))
    found = loads(answer.out) if answer is not None else None
    if found is not None:
        findings.tell("queue", printable(in_words(found)), {"queue": in_short(found)}, seconds)


async def try_connections(findings: Findings, host: Host, timeout_s: float) -> None:
    """How many SSH connections has the user there whom we log in as, and how many sessions are open in them?

    What is not reached by SSH, or has no ps(1) that can say, has no finding.
    """
    answer, _, seconds = await timed(lambda: host.run(_CONNECTIONS, timeout_s=timeout_s, label="SSH connections"))
    words = answer.out.split() if answer is not None else []
    if len(words) != 2 or not all(word.isdecimal() and len(word) <= _MOST_DIGITS for word in words):
        return
    connections, sessions = map(int, words)
    if connections:
        open_ones = counted(connections, "SSH connection is", "SSH connections are")
        inside = counted(sessions, "session")
        detail = f"{open_ones} open there as this user, from everywhere, with {inside} (the one of this check, too)"
        findings.tell("connections", detail, {"SSH": f"{connections} open, {inside}"}, seconds)


async def login_shell_hint(host: Host, program: str, timeout_s: float) -> str:
    """A hint for the hybrid file if a login shell finds a program; ``""``: it does not, or does not answer."""
    command = login_shell_command(program)
    answer, _, _ = await timed(lambda: host.run(command, timeout_s=timeout_s, label="look in a login shell"))
    return path_hint(answer.out) if answer is not None else ""


async def try_services(findings: Findings, connector: Connector, host: Host, timeout_s: float) -> None:
    """Would the queue accept a small job of each service? Nothing is submitted; a queue that cannot say is skipped."""
    scheduler = connector.scheduler()
    services = connector.deployment.config.get("services") or {}

    async def try_service(name: str) -> None:
        text = scheduler.wait_command(submission_for(connector.options(name), "/tmp"))
        if not text:
            return
        answer, error, seconds = await timed(lambda: host.run(text, timeout_s=timeout_s, label=f"try of {name}"))
        if error is not None or answer is None:
            findings.fail("service", error or ConfigError("no answer"), seconds)
            return
        wait_s, refusal = scheduler.parse_wait(answer.out)
        if wait_s is None:
            hint = "change the service's options or template in the hybrid file, or ask the site"
            findings.add("service", FAIL, f"{name}: {refusal or 'the queue does not accept it'}", seconds, hint)
        else:
            findings.add("service", OK, f"{name}: a small job would start in about {wait_s:.0f} s", seconds)

    try:
        await asyncio.gather(*(try_service(name) for name in services))
    except ConfigError as error:
        findings.fail("service", error)


async def schedulers(connector: Connector, host: Host, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Which schedulers answer at a host, whatever its deployment says: one finding, never a failure."""
    kinds = [kind() for kind in map(scheduler_class, SCHEDULERS) if kind is not None]
    groups = [Findings(connector.deployment.name, host.location) for _ in kinds]
    await asyncio.gather(*(try_queue(g, kind, host, timeout_s) for g, kind in zip(groups, kinds, strict=True)))
    names = [finding.detail for group in groups for finding in group.entries if finding.result == OK]
    text = ", ".join(names) or "none found; jobs run as processes of the host"
    return [Finding(connector.deployment.name, host.location, "scheduler", OK, text)]


def _sections(text: str) -> tuple[list[str], str]:
    lacks, version = section(text, "need"), section(text, "version")
    return [line for line in lacks.lines if line], version.words[:120] if version.code == 0 else ""


def _queue_problem(scheduler: Scheduler, text: str) -> str:
    try:
        scheduler.parse_status(text, [_NOWHERE_ID])
    except StatusUnknownError as error:
        return error.message
    return ""
