# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tries the deployments of a hybrid file: reached, logged in, usable, and their links. Nothing is left behind.

Each thing that is tried gives a :class:`Finding`. Deployments are tried at the same time, over the connections that
steps would use (one per host).
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import (
    AuthenticationError,
    CommandError,
    ConfigError,
    HostKeyError,
    HybridError,
    StatusUnknownError,
)
from airflow_hybrid.hooks import site_probe
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.connectors import Connector, open_connector
from airflow_hybrid.hooks.connectors.clusters import SCHEDULERS, scheduler_class
from airflow_hybrid.hooks.connectors.containers import image_there
from airflow_hybrid.hooks.images import Wanted, find_runtime, wanted_of
from airflow_hybrid.hooks.links import ways
from airflow_hybrid.hooks.site_look import submission_for
from airflow_hybrid.hooks.ssh import SshHost
from airflow_hybrid.hooks.transfer import trial
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler

T = TypeVar("T")

TIMEOUT_S = 60.0
MOST_LOCATIONS = 4
"""of each end of a link, that are tried"""
OK, WARN, FAIL, SKIP = "ok", "warn", "FAIL", "skip"
ORDER = (
    "connector",
    "reach",
    "host key",
    "login",
    "programs",
    "workdir",
    "scheduler",
    "service",
    "containers",
    "image",
    "link",
)
_NOWHERE_ID = "0"
"""a job that no queue has: asking for it shows whether the queue answers"""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    :ivar where: name of the deployment, or ``a -> b`` of a link; ``location``: which of its locations.
    :ivar what: ``reach``, ``host key``, ``login``, ``programs``, ``workdir``, ``scheduler``, ``service``,
        ``containers``, ``image``, ``link``.
    :ivar result: ``ok``; ``warn`` (steps run, but ...); ``FAIL``; ``skip`` (could not be tried, since another failed).
    :ivar seconds: how long it took.
    :ivar hint: what to do about it.
    """

    where: str
    location: str
    what: str
    result: str
    detail: str = ""
    seconds: float = 0.0
    hint: str = ""

    def to_json(self) -> JsonValue:
        return asdict(self)


@dataclass
class _Findings:
    """Findings of one location, in the order of trying."""

    where: str
    location: str = ""
    found: list[Finding] = field(default_factory=list)

    def add(self, what: str, result: str, detail: str = "", seconds: float = 0.0, hint: str | None = None) -> None:
        self.found.append(Finding(self.where, self.location, what, result, detail, seconds, hint or ""))

    def fail(self, what: str, error: HybridError, seconds: float = 0.0) -> None:
        self.add(what, FAIL, error.message, seconds, error.hint)


async def check(
    deployments: Mapping[str, Deployment],
    links: Sequence[Link] = (),
    *,
    names: Sequence[str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Finding]:
    """Try deployments and the links between them.

    :param names: those to try, and the links that begin and end at them; default: all.
    :param timeout_s: for each command at a location (connecting has the deployment's own limit).
    """
    wanted = list(deployments) if names is None else list(names)
    between = [link for link in links if link.source in wanted and link.target in wanted]
    groups = await asyncio.gather(
        *(_deployment(deployments, name, timeout_s) for name in wanted),
        *(_link(deployments, link, timeout_s) for link in between),
    )
    return [finding for group in groups for finding in group]


def fails(findings: Sequence[Finding]) -> bool:
    """Whether something of ``findings`` keeps steps from running."""
    return any(finding.result == FAIL for finding in findings)


async def _deployment(deployments: Mapping[str, Deployment], name: str, timeout_s: float) -> list[Finding]:
    if deployments[name].managed and not deployments[name].token:
        findings = _Findings(name)
        said, error, seconds = await _timed(open_connector(deployments, name).deployable)
        if error is not None:
            findings.fail("connector", error, seconds)
        else:
            text = "it is deployed for each run and not there between runs"
            findings.add("connector", OK if said else SKIP, f"{text}: {said}" if said else text, seconds)
        return findings.found
    try:
        connector = open_connector(deployments, name)
        hosts = await connector.hosts()
    except HybridError as error:
        findings = _Findings(name)
        findings.fail("connector", error)
        return findings.found
    groups = await asyncio.gather(*(look_at(connector, host, timeout_s) for host in hosts))
    return [finding for group in groups for finding in group]


async def look_at(connector: Connector, host: Host, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Try one location of a deployment: each problem becomes a finding, none is raised."""
    findings = _Findings(connector.deployment.name, host.location)
    if not await _reach(findings, host, timeout_s):
        findings.add("the rest", SKIP, "nothing more can be tried there")
        return findings.found
    queue = connector.queue(host)
    await asyncio.gather(
        _services(findings, connector, host, timeout_s),
        _site(findings, connector, host, timeout_s),
        _queue(findings, queue.scheduler, queue.host, timeout_s),
    )
    return sorted(findings.found, key=lambda finding: ORDER.index(finding.what))


async def _timed(action: Callable[[], Awaitable[T]]) -> tuple[T | None, HybridError | None, float]:
    began = time.monotonic()
    try:
        return await action(), None, time.monotonic() - began
    except HybridError as error:
        return None, error, time.monotonic() - began


async def _reach(findings: _Findings, host: Host, timeout_s: float) -> bool:
    """Open the connection and run the first command."""
    answer, error, seconds = await _timed(lambda: host.run("id -un; hostname", timeout_s=timeout_s, label="greeting"))
    if isinstance(error, HostKeyError):
        findings.fail("host key", error, seconds)
        findings.add("login", SKIP, "not tried with a host key that is not trusted")
    elif isinstance(error, (AuthenticationError, CommandError)):
        findings.fail("login", error, seconds)
    elif error is not None:
        findings.fail("reach", error, seconds)
    elif answer is not None:
        findings.add("reach", OK, host.title, seconds)
        if isinstance(host, SshHost):
            key, problem, took = await _timed(host.host_key)
            findings.add("host key", OK if problem is None else WARN, key or (problem.message if problem else ""), took)
        if answer.exit_code == 0:
            user, _, name = answer.out.strip().partition("\n")
            findings.add("login", OK, f"{user} at {name or host.location}")
        else:
            findings.add("login", FAIL, f"`id` ended with {answer.exit_code}: {answer.err.strip()[-300:]}", 0.0,
                         "can the account run commands there (login shell, ForceCommand)?")  # fmt: skip
    return error is None and answer is not None and answer.exit_code == 0


async def _site(findings: _Findings, connector: Connector, host: Host, timeout_s: float) -> None:
    workdir, error, seconds = await _timed(lambda: connector.workdir(host))
    if workdir is None or error is not None:
        findings.fail("workdir", error or ConfigError("it has no work directory"), seconds)
        return
    command = site_probe.script(workdir)
    answer, error, seconds = await _timed(lambda: host.run(command, timeout_s=timeout_s, label="look at the site"))
    if error is not None or answer is None:
        findings.fail("programs", error or ConfigError("no answer"), seconds)
        return
    probe = site_probe.parse(answer.out)
    if not probe.complete:
        findings.add("programs", FAIL, f"the look at the site was cut off: {answer.err.strip()[-300:]}", seconds)
        return
    _programs(findings, probe, seconds)
    _workdir(findings, probe, workdir)
    findings.add("containers", OK, ", ".join(probe.runtimes) or "none there")
    source, error, seconds = await _timed(lambda: connector.image(host))
    if source is not None:
        await _image(findings, host, source, wanted_of(connector.containers), workdir)
    elif error is not None:
        findings.fail("image", error, seconds)


async def _image(findings: _Findings, host: Host, source: ImageSource, wanted: Wanted, workdir: str) -> None:
    """Would jobs run in the image of their deployment? Nothing is pulled."""
    found, error, seconds = await _timed(lambda: find_runtime(host, wanted))
    if found is None or error is not None:
        findings.fail("image", error or ConfigError("no answer"), seconds)
        return
    if found.runtime is None:
        said = "; ".join(f"{name} {why}".rstrip() for name, why in found.said)
        findings.add("image", FAIL, f"{wanted.runtime} cannot be used: {said}", seconds,
                     f"install {wanted.runtime} there, or give the deployment another type")  # fmt: skip
        return
    named, version = found.runtime, ".".join(map(str, found.version))
    there, error, seconds = await _timed(lambda: image_there(host, named, source, workdir))
    if error is not None:
        findings.fail("image", error, seconds)
    elif there is not None and source.image_id and not there.endswith("is there"):
        findings.add("image", FAIL, f"{source.image_id} is not there", seconds, "bring it there, or name one to pull")
    else:
        findings.add("image", OK, f"{named} {version}, {there}", seconds)


def _programs(findings: _Findings, probe: site_probe.SiteProbe, seconds: float) -> None:
    size = ", ".join(
        part
        for part in (
            f"{probe.cores} cores" if probe.cores else "",
            f"{probe.memory_mib} MiB" if probe.memory_mib else "",
            probe.os,
        )
        if part
    )
    if probe.missing:
        text = f"not there: {', '.join(probe.missing)}"
        hint = "have them installed (coreutils, findutils, tar, util-linux), or put them on the PATH of"
        findings.add("programs", FAIL, text, seconds, f"{hint} non-interactive shells")
        return
    lost = [f"no {name}: {lost}" for name, lost in site_probe.OPTIONAL.items() if name in probe.lacks]
    findings.add("programs", WARN if lost else OK, "; ".join([size, *lost]), seconds)


def _workdir(findings: _Findings, probe: site_probe.SiteProbe, workdir: str) -> None:
    where = workdir if probe.base == workdir else f"{workdir} (to be made in {probe.base})"
    if probe.write != "ok":
        hint = "give the deployment a `workdir` that is yours and has room (`df`, `df -i`, quota)"
        findings.add("workdir", FAIL, f"{where} cannot be written: {probe.write or 'no reason given'}", 0.0, hint)
        return
    if probe.lock != "ok":
        hint = "give the deployment a `workdir` on a file system that supports flock (not all mounts of NFS, Lustre do)"
        findings.add("workdir", FAIL, f"{where} cannot be locked: {probe.lock}", 0.0, hint)
        return
    free = "free space unknown" if probe.free_kib is None else f"{size(probe.free_kib)} free"
    inodes = "" if probe.free_inodes is None else f", {probe.free_inodes} inodes"
    low = (probe.free_kib is not None and probe.free_kib < site_probe.LOW_SPACE_KIB) or (
        probe.free_inodes is not None and 0 < probe.free_inodes < site_probe.LOW_INODES
    )
    hint = "results of all runs stay there: free some space, or give the deployment another `workdir`" if low else ""
    findings.add("workdir", WARN if low else OK, f"{where}, {free}{inodes}", 0.0, hint)


def size(kib: float) -> str:
    """A number of KiB for a person."""
    for unit in ("KiB", "MiB", "GiB"):
        if kib < 1024:
            return f"{kib:.3g} {unit}"
        kib /= 1024
    return f"{kib:.4g} TiB"


async def _queue(findings: _Findings, scheduler: Scheduler, host: Host, timeout_s: float) -> None:
    """Are the scheduler's programs there, and does its queue answer?"""
    command = "\n".join(
        (
            scheduler.functions(),
            "echo '#need'; ah_need; echo '#rc 0'; echo '#version'",
            f'{{ {scheduler.version_command or ":"}\n}} 2>&1; echo "#rc $?"',
            scheduler.status_command([_NOWHERE_ID]),
        )
    )
    answer, error, seconds = await _timed(lambda: host.run(command, timeout_s=timeout_s, label="scheduler"))
    if error is not None or answer is None:
        findings.fail("scheduler", error or ConfigError("no answer"), seconds)
        return
    lacks, said = _sections(answer.out)
    if lacks:
        findings.add("scheduler", FAIL, f"{scheduler.name}: not there: {', '.join(lacks)}", seconds,
                     "is this the right host, and are its programs on the PATH of non-interactive shells? (try: "
                     f"ssh <host> command -v {shlex.quote(lacks[0])})")  # fmt: skip
        return
    problem = _queue_problem(scheduler, answer.out)
    if problem:
        findings.add("scheduler", FAIL, f"{scheduler.name} does not answer: {problem}", seconds,
                     "is its controller up? ask the site; what is submitted already is waited for")  # fmt: skip
        return
    own = "its own processes" if isinstance(scheduler, ProcessScheduler) else scheduler.name
    findings.add("scheduler", OK, said or own, seconds)


async def _services(findings: _Findings, connector: Connector, host: Host, timeout_s: float) -> None:
    """Would the queue take a small job of each service? Nothing is submitted; a queue that cannot say is not asked."""
    scheduler = connector.scheduler()
    services = connector.deployment.config.get("services") or {}

    async def one(name: str) -> None:
        text = scheduler.wait_command(submission_for(connector.options(name), "/tmp"))
        if not text:
            return
        answer, error, seconds = await _timed(lambda: host.run(text, timeout_s=timeout_s, label=f"try of {name}"))
        if error is not None or answer is None:
            findings.fail("service", error or ConfigError("no answer"), seconds)
            return
        wait_s, said = scheduler.parse_wait(answer.out)
        if wait_s is None:
            hint = "change the service's options or template in the hybrid file; or ask the site"
            findings.add("service", FAIL, f"{name}: {said or 'the queue does not take it'}", seconds, hint)
        else:
            findings.add("service", OK, f"{name}: a small job would start in about {wait_s:.0f} s", seconds)

    try:
        await asyncio.gather(*(one(name) for name in services))
    except ConfigError as error:
        findings.fail("service", error)


async def schedulers(connector: Connector, host: Host, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Which schedulers answer at a host, whatever its deployment says of it: one finding, never a failure."""
    kinds = [kind() for kind in map(scheduler_class, SCHEDULERS) if kind is not None]
    groups = [_Findings(connector.deployment.name, host.location) for _ in kinds]
    await asyncio.gather(*(_queue(g, kind, host, timeout_s) for g, kind in zip(groups, kinds, strict=True)))
    found = [finding.detail for group in groups for finding in group.found if finding.result == OK]
    text = ", ".join(found) or "none found; jobs run as processes of the host"
    return [Finding(connector.deployment.name, host.location, "scheduler", OK, text)]


def _sections(text: str) -> tuple[list[str], str]:
    from airflow_hybrid.schedulers.base import section

    lacks, _ = section(text, "need")
    version, code = section(text, "version")
    return [line for line in lacks if line], " ".join(version).strip()[:120] if code == 0 else ""


def _queue_problem(scheduler: Scheduler, text: str) -> str:
    try:
        scheduler.parse_status(text, [_NOWHERE_ID])
    except StatusUnknownError as error:
        return error.message
    return ""


# --- links -------------------------------------------------------------------------------------------------------


async def _link(deployments: Mapping[str, Deployment], link: Link, timeout_s: float) -> list[Finding]:
    """Each location of the source tries to reach each of the target, and a few bytes go there and back."""
    where = f"{link.source} -> {link.target}"
    try:
        sources = await open_connector(deployments, link.source).hosts()
        targets = await open_connector(deployments, link.target).hosts()
    except HybridError as error:
        findings = _Findings(where)
        findings.fail("link", error)
        return findings.found
    pairs = [(s, t) for s in sources[:MOST_LOCATIONS] for t in targets[:MOST_LOCATIONS]]
    groups = await asyncio.gather(*(_try(link, where, s, t, timeout_s) for s, t in pairs))
    return [finding for group in groups for finding in group]


async def _try(
    link: Link,
    where: str,
    source: Host,
    target: Host,
    timeout_s: float,
) -> list[Finding]:
    findings = _Findings(where, f"{source.location} -> {target.location}")
    ends = replace(link, source=source.deployment, target=target.deployment)
    way = next((way for way, pushed in ways([ends], source, target) if pushed), None)
    if way is None:
        text = f"it is not known by which address {link.source} reaches {link.target}"
        findings.add("link", FAIL, text, 0.0, "give the link an `address`: [user@]host[:port], as seen from there")
        return findings.found

    async def attempt() -> str:
        folder = f"/tmp/.airflow-hybrid-check-{secrets.token_hex(8)}"
        try:
            return await asyncio.wait_for(trial(source, way, target, folder, secrets.token_hex(8)), timeout_s)
        except asyncio.TimeoutError:
            return f"no answer within {timeout_s:g} s"
        finally:
            await target.run(f"rmdir -- {shlex.quote(folder)} 2>/dev/null || :", label="end of the try of a link")

    problem, error, seconds = await _timed(attempt)
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
    return findings.found
