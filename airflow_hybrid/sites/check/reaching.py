# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Can a location be reached and logged in to? Each host is asked once, however many deployments work through it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import AuthenticationError, CommandError, HostKeyError, HybridError
from airflow_hybrid.sites.check.findings import FAIL, OK, SKIP, WARN, Finding, Findings, timed
from airflow_hybrid.sites.check.locks import Meeting, meet
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.ssh.host import SshHost

GREETING = "id -un; uname -n"
"""both of coreutils: images for containers often lack hostname(1)"""


@dataclass(frozen=True)
class Reached:
    """What came of reaching a host.

    :ivar owner: the deployment whose host it is; those that wrap it only work through it.
    :ivar findings: in the name of the owner.
    """

    owner: str
    ok: bool
    findings: tuple[Finding, ...]

    def seen_from(self, name: str) -> tuple[Finding, ...]:
        """The findings in the name of a deployment that works through the host."""
        return tuple(replace(finding, where=name) for finding in self.findings)


class Reaches:
    """The hosts of a check, each reached once.

    :param deployments: all that there are, by name.
    """

    def __init__(self, deployments: Mapping[str, Deployment], timeout_s: float) -> None:
        self._deployments = deployments
        self._timeout_s = timeout_s
        self._by_host: dict[Host, asyncio.Task[Reached]] = {}
        self._meetings: dict[tuple[str, str], asyncio.Task[Meeting]] = {}

    async def reach(self, host: Host) -> Reached:
        """Open the connection and run the first command; concurrent callers share one attempt."""
        if host not in self._by_host:
            self._by_host[host] = asyncio.ensure_future(_reach(host, self._timeout_s))
        return await self._by_host[host]

    async def meet(self, host: SshHost, workdir: str) -> Meeting:
        """Let two connections meet in a work directory; concurrent callers share one attempt."""
        key = (host.key, workdir)
        if key not in self._meetings:
            self._meetings[key] = asyncio.ensure_future(meet(host, workdir, self._timeout_s))
        return await self._meetings[key]

    async def needs(self, name: str) -> str | None:
        """Why a deployment cannot be tried: a deployment that it wraps failed, or exists only while a run does.

        :return: None: it can be tried.
        """
        deployment = self._deployments.get(name)
        wrapped = deployment.wraps if deployment is not None else None
        if deployment is None or wrapped is None or wrapped not in self._deployments:
            return None
        if reason := await self.needs(wrapped):
            return reason
        if self._deployments[wrapped].managed and not self._deployments[wrapped].token:
            return f"not tried: it needs `{wrapped}`, which is deployed for each run"
        try:
            hosts = await open_connector(self._deployments, wrapped).hosts(deployment.wraps_service)
        except HybridError:
            return needs(wrapped)
        reached = await asyncio.gather(*(self.reach(host) for host in hosts))
        failed = [outcome.owner for outcome in reached if not outcome.ok]
        return needs(failed[0]) if reached and len(failed) == len(reached) else None

    def untold(self, told: Sequence[Finding]) -> list[Finding]:
        """Failures of hosts that are not among ``told``: of deployments that nobody asked for, but others need."""
        failed = [task.result() for task in self._by_host.values() if not task.result().ok]
        return [finding for outcome in failed for finding in outcome.findings if finding not in told]


def needs(owner: str) -> str:
    """The detail of what was not tried because a deployment that is needed for it failed."""
    return f"not tried: it needs `{owner}`, which failed"


async def _reach(host: Host, timeout_s: float) -> Reached:
    findings = Findings(host.deployment, host.location)
    answer, error, seconds = await timed(lambda: host.run(GREETING, timeout_s=timeout_s, label="greeting"))
    if isinstance(error, HostKeyError):
        findings.add("host key", FAIL, error.message, seconds, await _about_the_key(host) or error.hint)
        findings.add("login", SKIP, "skipped because the host key is not trusted")
    elif isinstance(error, (AuthenticationError, CommandError)):
        findings.fail("login", error, seconds)
    elif error is not None:
        findings.fail("reach", error, seconds)
    elif answer is not None:
        findings.add("reach", OK, host.title, seconds)
        if isinstance(host, SshHost):
            await _host_key(findings, host)
        if answer.exit_code == 0:
            user, _, name = answer.out.strip().partition("\n")
            findings.add("login", OK, f"{user} at {name or host.location}")
        else:
            findings.add("login", FAIL, f"`id` ended with {answer.exit_code}: {answer.err.strip()[-300:]}", 0.0,
                         "can the account run commands there (login shell, ForceCommand)?")  # fmt: skip
    ok = error is None and answer is not None and answer.exit_code == 0
    if not ok:
        findings.add("the rest", SKIP, "nothing else can be tested there")
    return Reached(host.deployment, ok, tuple(findings.entries))


async def _about_the_key(host: Host) -> str:
    if not isinstance(host, SshHost):
        return ""
    key, _, _ = await timed(host.presented_key)
    return key.advice() if key is not None else ""


async def _host_key(findings: Findings, host: SshHost) -> None:
    key, error, seconds = await timed(host.host_key)
    if error is not None:
        findings.add("host key", WARN, error.message, seconds)
    else:
        findings.add("host key", OK, key or "", seconds)
