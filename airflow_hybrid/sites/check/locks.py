# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tests whether a login name leads to one host, and whether locks hold between its hosts."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from airflow_hybrid import shell_text
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.check.findings import FAIL, OK, WARN, Findings, timed
from airflow_hybrid.sites.hosts.base import CommandResult
from airflow_hybrid.sites.hosts.ssh.host import SshHost

MEET_S = 20
"""how long each side waits for the other one"""
_MOST_SAID = 200


@dataclass(frozen=True)
class Meeting:
    """What two connections to one login name found in a work directory.

    :ivar one: what the side said that held a lock, and ``other``: that tried it (``locks.sh``).
    :ivar error: why they did not meet.
    """

    one: Mapping[str, str]
    other: Mapping[str, str]
    seconds: float
    error: HybridError | None = None


async def meet(host: SshHost, workdir: str, timeout_s: float) -> Meeting:
    """Let two connections meet, to two addresses of the name if it has several: is it one host, and do locks hold?"""
    folder = f".airflow-hybrid-check.{secrets.token_hex(8)}"
    others: list[SshHost] = []

    async def both_sides() -> list[CommandResult]:
        for address in await host.two_addresses():
            settings = replace(host.settings, address=address)
            others.append(SshHost(host.deployment, host.location, settings, prelude=host.prelude))
        return await asyncio.gather(
            *(
                other.run(_side(workdir, folder, side), timeout_s=timeout_s, label=f"a lock: {side}")
                for other, side in zip(others, ("holds", "tries"), strict=True)
            )
        )

    try:
        answers, error, seconds = await timed(both_sides)
    finally:
        await asyncio.gather(*(other.close() for other in others))
    if error is not None or answers is None:
        return Meeting({}, {}, seconds, error or ConfigError("no answer"))
    one, other = (_lines(answer.out) for answer in answers)
    return Meeting(one, other, seconds)


def tell(findings: Findings, meeting: Meeting, *, on_host: bool) -> None:
    """Add the finding about locks.

    :param on_host: jobs are processes of the host.
    """
    if meeting.error is not None:
        detail = f"not tried by a second connection: {meeting.error.message}"
        findings.add("locks", WARN, detail, meeting.seconds, meeting.error.hint)
        return
    result, detail, hint = judged(meeting.one, meeting.other, on_host=on_host)
    findings.add("locks", result, detail, meeting.seconds, hint)


def _side(workdir: str, folder: str, side: str) -> str:
    values = {"WORKDIR": shlex.quote(workdir), "FOLDER": folder, "SIDE": side, "MEET": str(MEET_S)}
    return shell_text.filled(__package__, "locks.sh", values)


def _lines(text: str) -> dict[str, str]:
    return {key: printable(value[:_MOST_SAID]) for key, _, value in (line.partition("\t") for line in text.split("\n"))}


def judged(one: Mapping[str, str], other: Mapping[str, str], *, on_host: bool) -> tuple[str, str, str]:
    """Result, detail and hint, from what two sides said (``locks.sh``): the first held a lock, the other tried it."""
    names, lock = (one.get("host", ""), other.get("host", "")), other.get("lock", "")
    are_one = bool(one.get("boot")) and (names[0], one.get("boot")) == (names[1], other.get("boot"))
    both = f"this name leads to {names[0]} and {names[1]}"
    if not lock:
        return WARN, "two connections could not meet in the work directory", ""
    if not are_one and on_host:
        hint = "jobs of this deployment are processes of one of them, which the other one does not see: name one host"
        return WARN, both, hint
    if lock == "apart":
        where = f"{names[0]} does not see what {names[0]} writes" if are_one else f"{both}, which do not share it"
        return FAIL, f"the work directory: {where}", "give the deployment a `workdir` that all of them see"
    if are_one and lock in ("held", "free"):
        return OK, f"two connections led to one host, {names[0]}", ""
    claims = "nothing to do: claims, which need no locks, keep submits apart"
    if lock == "held":
        return OK, f"{both}, and locks hold between them", ""
    if lock == "free":
        return WARN, f"{both}, and locks do not hold between them", claims
    return WARN, f"files cannot be locked in the work directory: {lock}", claims
