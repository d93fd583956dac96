# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tests links between deployments: a few bytes are sent there and back."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import HybridError
from airflow_hybrid.sites.check.findings import FAIL, OK, SKIP, Finding, Findings, timed
from airflow_hybrid.sites.check.reaching import Reaches, needs
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.files.links import ways
from airflow_hybrid.sites.files.transfer import trial
from airflow_hybrid.sites.hosts.base import Host

MOST_LOCATIONS = 4
"""locations of each end of a link that are tested"""


async def try_link(
    deployments: Mapping[str, Deployment], link: Link, reaches: Reaches, timeout_s: float
) -> list[Finding]:
    """Each location of the source tries to reach each of the target, and a few bytes are sent there and back."""
    where = f"{link.source} -> {link.target}"
    if reason := await reaches.needs(link.source) or await reaches.needs(link.target):
        return [Finding(where, "", "link", SKIP, reason)]
    try:
        sources = await open_connector(deployments, link.source).hosts()
        targets = await open_connector(deployments, link.target).hosts()
    except HybridError as error:
        findings = Findings(where)
        findings.fail("link", error)
        return findings.entries
    pairs = [(s, t) for s in sources[:MOST_LOCATIONS] for t in targets[:MOST_LOCATIONS]]
    groups = await asyncio.gather(*(_between(link, s, t, reaches, timeout_s) for s, t in pairs))
    return [finding for group in groups for finding in group]


async def _between(link: Link, source: Host, target: Host, reaches: Reaches, timeout_s: float) -> list[Finding]:
    for end in (source, target):
        reached = await reaches.reach(end)
        if not reached.ok:
            where = f"{link.source} -> {link.target}"
            return [Finding(where, f"{source.location} -> {target.location}", "link", SKIP, needs(reached.owner))]
    return await _try(link, source, target, timeout_s)


async def _try(link: Link, source: Host, target: Host, timeout_s: float) -> list[Finding]:
    findings = Findings(f"{link.source} -> {link.target}", f"{source.location} -> {target.location}")
    ends = replace(link, source=source.deployment, target=target.deployment)
    way = next((way for way, pushed in ways([ends], source, target) if pushed), None)
    if way is None:
        text = f"the address by which {link.source} reaches {link.target} is unknown"
        findings.add("link", FAIL, text, 0.0, "give the link an `address`: [user@]host[:port], as seen from there")
        return findings.entries

    async def attempt() -> str:
        folder = f"/tmp/.airflow-hybrid-check-{secrets.token_hex(8)}"
        try:
            return await asyncio.wait_for(trial(source, way, target, folder, secrets.token_hex(8)), timeout_s)
        except asyncio.TimeoutError:
            return f"no answer within {timeout_s:g} s"
        finally:
            await target.run(f"rmdir -- {shlex.quote(folder)} 2>/dev/null || :", label="end of the try of a link")

    problem, error, seconds = await timed(attempt)
    if error is not None:
        findings.add("link", FAIL, error.message, seconds, error.hint)
    elif problem:
        hint = (
            f"at {source.location}, `ssh -o BatchMode=yes {way.argv[-1]} true` must work: key, known_hosts, firewall;"
        )
        hint += " or change the link's `address` or `identity`. While it fails, data goes through this machine"
        findings.add("link", FAIL, problem, seconds, hint)
    else:
        findings.add("link", OK, f"`ssh {way.argv[-1]}`: sent, read back and compared", seconds)
    return findings.entries
