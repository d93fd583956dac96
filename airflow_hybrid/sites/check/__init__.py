# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tests the deployments of a hybrid file: can they be reached, logged in to and used, and do their links work?

Each test gives a :class:`Finding`, and nothing is left behind. Deployments are tested at the same time, over the
connections that steps would use (one per host).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_hybrid.amounts import counted
from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.check import locks, site_probe
from airflow_hybrid.sites.check.findings import FAIL, OK, SKIP, TIMEOUT_S, WARN, Finding, Findings, timed
from airflow_hybrid.sites.check.links import try_link
from airflow_hybrid.sites.check.namespace import namespace_figures
from airflow_hybrid.sites.check.queues import (
    login_shell_hint,
    schedulers,
    try_capacity,
    try_connections,
    try_everybody,
    try_queue,
    try_services,
)
from airflow_hybrid.sites.check.reaching import Reaches, needs
from airflow_hybrid.sites.connectors import Connector, open_connector
from airflow_hybrid.sites.connectors.containers import image_there
from airflow_hybrid.sites.containers.images import ContainerSettings, container_settings, find_runtime
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.ssh.host import SshHost

__all__ = ["FAIL", "OK", "SKIP", "WARN", "Finding", "check", "fails", "look_at", "schedulers"]

ORDER = (
    "connector",
    "reach",
    "host key",
    "login",
    "programs",
    "workdir",
    "locks",
    "scheduler",
    "capacity",
    "queue",
    "connections",
    "service",
    "containers",
    "image",
    "link",
)


async def check(
    deployments: Mapping[str, Deployment],
    links: Sequence[Link] = (),
    *,
    names: Sequence[str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Finding]:
    """Test deployments and the links between them.

    :param names: the deployments to test, with the links between them; default: all.
    :param timeout_s: limit for each command at a location (connecting has the deployment's own limit).
    """
    chosen = list(deployments) if names is None else list(names)
    between = [link for link in links if link.source in chosen and link.target in chosen]
    reaches = Reaches(deployments, timeout_s)
    groups = await asyncio.gather(
        *(_deployment(deployments, name, reaches, timeout_s) for name in chosen),
        *(try_link(deployments, link, reaches, timeout_s) for link in between),
    )
    findings = [finding for group in groups for finding in group]
    return told_once([*reaches.untold(findings), *findings], deployments)


def fails(findings: Sequence[Finding]) -> bool:
    """Whether one of the findings prevents steps from running."""
    return any(finding.result == FAIL for finding in findings)


def told_once(findings: Sequence[Finding], deployments: Mapping[str, Deployment]) -> list[Finding]:
    """A failure that a deployment shares with one that it wraps is told there, where it can be mended."""
    told = {(f.where, f.location, f.what, f.detail) for f in findings if f.result == FAIL}

    def once(finding: Finding) -> Finding:
        deployment = deployments.get(finding.where)
        while finding.result == FAIL and deployment is not None and deployment.wraps is not None:
            if (deployment.wraps, finding.location, finding.what, finding.detail) in told:
                detail = f"fails as that of `{deployment.wraps}`, which it needs"
                return replace(finding, result=SKIP, detail=detail, hint="")
            deployment = deployments.get(deployment.wraps)
        return finding

    return [once(finding) for finding in findings]


async def _deployment(
    deployments: Mapping[str, Deployment], name: str, reaches: Reaches, timeout_s: float
) -> list[Finding]:
    findings = Findings(name)
    if reason := await reaches.needs(name):
        findings.add("all", SKIP, reason)
        return findings.entries
    if deployments[name].managed and not deployments[name].token:
        return await _managed(deployments, name)
    try:
        connector = open_connector(deployments, name)
    except HybridError as error:
        findings.fail("connector", error)
        return findings.entries
    groups = await asyncio.gather(
        _locations(connector, reaches, timeout_s),
        namespace_figures(connector, timeout_s),  # also where no pod can be reached: they may say why
    )
    return [finding for group in groups for finding in group]


async def _locations(connector: Connector, reaches: Reaches, timeout_s: float) -> list[Finding]:
    hosts, error, seconds = await timed(connector.hosts)
    if hosts is None or error is not None:
        findings = Findings(connector.deployment.name)
        findings.fail("connector", error or ConfigError("it has no location"), seconds)
        return findings.entries
    groups = await asyncio.gather(*(_location(connector, host, reaches, timeout_s) for host in hosts))
    return [finding for group in groups for finding in group]


async def _managed(deployments: Mapping[str, Deployment], name: str) -> list[Finding]:
    """A deployment that is made for each run: only test whether it could be deployed."""
    findings = Findings(name)
    tool, error, seconds = await timed(open_connector(deployments, name).deployable)
    text = "it is deployed for each run and does not exist between runs"
    if error is not None:
        findings.fail("connector", error, seconds)
    elif tool:
        findings.add("connector", OK, f"{text}: {tool}", seconds)
    else:
        findings.add("connector", SKIP, text, seconds)
    return findings.entries


async def look_at(connector: Connector, host: Host, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Test one location of a deployment: each problem becomes a finding, none is raised."""
    return await _location(connector, host, Reaches({}, timeout_s), timeout_s)


async def _location(connector: Connector, host: Host, reaches: Reaches, timeout_s: float) -> list[Finding]:
    name = connector.deployment.name
    findings = Findings(name, host.location)
    reached = await reaches.reach(host)
    if not reached.ok:
        if reached.owner == name:
            return list(reached.findings)
        findings.add("all", SKIP, needs(reached.owner))
        return findings.entries
    findings.entries.extend(reached.seen_from(name))
    queue = connector.queue(host)
    await asyncio.gather(
        try_services(findings, connector, host, timeout_s),
        _site(findings, connector, host, reaches, timeout_s),
        try_queue(findings, queue.scheduler, queue.host, timeout_s),
        try_capacity(findings, connector, queue, timeout_s),
        try_everybody(findings, queue, timeout_s),
        try_connections(findings, host, timeout_s),
    )
    return sorted(findings.entries, key=lambda finding: ORDER.index(finding.what))


async def _site(findings: Findings, connector: Connector, host: Host, reaches: Reaches, timeout_s: float) -> None:
    workdir, error, seconds = await timed(lambda: connector.workdir(host))
    if workdir is None or error is not None:
        findings.fail("workdir", error or ConfigError("it has no work directory"), seconds)
        return
    command = site_probe.script(workdir)
    answer, error, seconds = await timed(lambda: host.run(command, timeout_s=timeout_s, label="look at the site"))
    if error is not None or answer is None:
        findings.fail("programs", error or ConfigError("no answer"), seconds)
        return
    probe = site_probe.parse(answer.out)
    if not probe.complete:
        findings.add("programs", FAIL, f"the answer was cut off: {answer.err.strip()[-300:]}", seconds)
        return
    look = probe.missing and await login_shell_hint(host, probe.missing[0], timeout_s)
    _programs(findings, probe, seconds, look or "")
    _workdir(findings, probe, workdir)
    # what is not reached by SSH is one host; where only a person can log in, no further connection is attempted
    if probe.write == "ok" and isinstance(host, SshHost) and not host.settings.interactive:
        locks.tell(findings, await reaches.meet(host, workdir), on_host=connector.scheduler().on_host)
    findings.add("containers", OK, ", ".join(probe.runtimes) or "none there")
    source, error, seconds = await timed(lambda: connector.image(host))
    if source is not None:
        await _image(findings, host, source, container_settings(connector.containers), workdir)
    elif error is not None:
        findings.fail("image", error, seconds)


async def _image(
    findings: Findings, host: Host, source: ImageSource, settings: ContainerSettings, workdir: str
) -> None:
    """Would jobs run in the image of their deployment? Nothing is pulled."""
    detected, error, seconds = await timed(lambda: find_runtime(host, settings))
    if detected is None or error is not None:
        findings.fail("image", error or ConfigError("no answer"), seconds)
        return
    if detected.runtime is None:
        reasons = "; ".join(f"{name} {why}".rstrip() for name, why in detected.unusable)
        findings.add("image", FAIL, f"{settings.runtime} cannot be used: {reasons}", seconds,
                     f"install {settings.runtime} there, or give the deployment another type")  # fmt: skip
        return
    named, version = detected.runtime, ".".join(map(str, detected.version))
    presence, error, seconds = await timed(lambda: image_there(host, named, source, workdir))
    if error is not None:
        findings.fail("image", error, seconds)
    elif presence is not None and source.image_id and not presence.endswith("is there"):
        findings.add("image", FAIL, f"{source.image_id} is not there", seconds, "bring it there, or name one to pull")
    else:
        findings.add("image", OK, f"{named} {version}, {presence}", seconds)


def _programs(findings: Findings, probe: site_probe.SiteProbe, seconds: float, hint: str) -> None:
    size = ", ".join(
        part
        for part in (
            counted(probe.cores, "core") if probe.cores else "",
            f"{probe.memory_mib} MiB" if probe.memory_mib else "",
            probe.os,
        )
        if part
    )
    if probe.missing:
        text = f"not there: {', '.join(probe.missing)}"
        missing = "have them installed (coreutils, findutils, tar, util-linux), or name their folder as `config.path`"
        findings.add("programs", FAIL, text, seconds, hint or missing)
        return
    lost = [f"no {name}: {lost}" for name, lost in site_probe.OPTIONAL.items() if name in probe.lacks]
    findings.add("programs", WARN if lost else OK, "; ".join([size, *lost]), seconds)


def _workdir(findings: Findings, probe: site_probe.SiteProbe, workdir: str) -> None:
    where = workdir if probe.base == workdir else f"{workdir} (to be made in {probe.base})"
    if probe.write != "ok":
        hint = "give the deployment a `workdir` that is yours and has room (`df`, `df -i`, quota)"
        findings.add("workdir", FAIL, f"{where} cannot be written: {probe.write or 'no reason given'}", 0.0, hint)
        return
    free = "free space unknown" if probe.free_kib is None else f"{size(probe.free_kib)} free"
    inodes = "" if probe.free_inodes is None else f", {probe.free_inodes} inodes"
    low = (probe.free_kib is not None and probe.free_kib < site_probe.LOW_SPACE_KIB) or (
        probe.free_inodes is not None and 0 < probe.free_inodes < site_probe.LOW_INODES
    )
    hint = "results of all runs stay there: free some space, or give the deployment another `workdir`" if low else ""
    if probe.lock != "ok":
        hint = hint or "nothing to do: claims, which need no locks, keep apart what two processes must not do at once"
        inodes += f"; files cannot be locked there: {printable(probe.lock)}"
    figures = {} if probe.free_kib is None else {"free space": size(probe.free_kib)}
    found = Finding(findings.where, findings.location, "workdir", WARN if hint else OK, f"{where}, {free}{inodes}")
    findings.entries.append(replace(found, hint=hint, figures=figures))


def size(kib: float) -> str:
    """A number of KiB for a person."""
    for unit in ("KiB", "MiB", "GiB"):
        if kib < 999.5:  # three digits, rounded, are not 1e+03
            return f"{kib:.3g} {unit}"
        kib /= 1024
    return f"{kib:.4g} TiB"
