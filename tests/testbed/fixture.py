# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The test bed of this folder (``testbed``, see README.md) as Python sees it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KIT = Path(__file__).parent / "testbed"
DEFAULT_LINKS = "hpc-edge cloud-edge grid-edge"
DEFAULT_SITES = ("hpc", "cloud", "edge")
INSTALL = "as root on Debian: tests/testbed/testbed install"
# sbin is not on the PATH of every user
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
PROGRAMS = ("sshd", "ssh", "ip", "nft", "nsenter", "unshare", "setsid", "rsync")
SGE_PROGRAMS = ("qsub", "qstat", "qacct", "qconf")
KUBE_PROGRAMS = ("podman", "runc", "conmon", "iptables", "busybox", "openssl", "kubectl")
SLURM_PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd")


@dataclass(frozen=True)
class Site:
    """One site that is up; ``scheduler`` is ``slurm``, ``sge``, ``kube`` or None."""

    name: str
    host: str
    port: int
    user: str
    key: Path
    scheduler: str | None
    home: str
    scratch: str
    host_key: str


@dataclass(frozen=True)
class Login:
    """What a site's sshd saw since some moment: connections and commands (sessions)."""

    connections: int
    commands: int


def missing(sites: tuple[str, ...] = DEFAULT_SITES) -> list[str]:
    """What this machine lacks for the test bed; empty if it can hold it."""
    if os.geteuid() != 0:
        return ["root"]
    if not Path("/etc/debian_version").exists():
        return ["Debian"]
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    kinds = {"hpc": SLURM_PROGRAMS, "grid": SGE_PROGRAMS, "kube": KUBE_PROGRAMS}
    wanted = [*PROGRAMS, *(program for site in sites for program in kinds.get(site, ()))]
    lacks = [program for program in wanted if not shutil.which(program, path=path)]
    if "kube" in sites and not _kube_venv().exists():
        lacks.append(f"the Python environment {_kube_venv().parent.parent}")
    if not os.path.ismount("/sys/fs/cgroup"):
        lacks.append("/sys/fs/cgroup mounted")
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
    if "unshare" not in lacks and subprocess.run(unshare, capture_output=True, check=False).returncode:
        lacks.append("the right to make namespaces (in a container: --privileged)")
    return lacks


def _kube_venv() -> Path:
    """The interpreter of the Kubernetes double (requirements-kube.txt)."""
    cache = (
        os.environ.get("TESTBED_CACHE")
        or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/hybrid-testbed"
    )
    return Path(cache) / "venv/bin/python"


class Testbed:
    """Real sites on this machine. Settings are those of the kit, from ``TESTBED_*`` variables.

    :param folder: the state, ``TESTBED_DIR``.
    :param defaults: variables for the kit where the environment does not set them.
    """

    __test__ = False  # pytest: not a test class

    def __init__(self, folder: Path, **defaults: str) -> None:
        self.folder = folder
        # sshd tells each connection and each command at this level; counted by `login_since`
        defaults.setdefault("TESTBED_SSHD_OPTS", "-o LogLevel=VERBOSE")
        self.env = {**defaults, **os.environ, "TESTBED_DIR": str(folder)}
        self.env["PATH"] = f"{self.env.get('PATH', os.defpath)}:{SBIN}"

    # --- life

    def up(self, *sites: str) -> None:
        """Start sites; those that are up already stay as they are. ``TESTBED_SHELL`` becomes /bin/sh of each.

        :raises RuntimeError: with the end of the log of a site that does not start.
        """
        self._kit("up", *(sites or DEFAULT_SITES), timeout_s=180)
        if shell := self.env.get("TESTBED_SHELL"):
            for site in sites or DEFAULT_SITES:
                self.exec(site, "ln", "-sfn", shell, "/usr/bin/sh")

    def down(self, *sites: str) -> None:
        """Stop sites, or all and leave nothing."""
        self._kit("down", *sites, timeout_s=180)

    # --- what there is

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def variables(self) -> dict[str, str]:
        """The variables by which the kit's commands, and other processes, find this test bed."""
        own = {name: value for name, value in self.env.items() if name.startswith("TESTBED_")}
        return {**own, "TESTBED_JSON": str(self.folder / "testbed.json"), "TESTBED_SSH_CONFIG": str(self.ssh_config)}

    @property
    def sites(self) -> dict[str, Site]:
        """The sites that are up, by name."""
        keys = {line.split(",")[0]: line.split(" ", 1)[1] for line in self.known_hosts.read_text().splitlines()}
        rows = json.loads((self.folder / "testbed.json").read_text())["sites"]
        return {
            name: Site(
                name, row["host"], row["port"], row["user"], Path(row["key"]), row["scheduler"], row["home"],
                row["scratch"], keys[name],
            )
            for name, row in rows.items()
        }  # fmt: skip

    # --- doing things there

    def run(self, site: str, command: str, *, check: bool = True, timeout_s: float = 60) -> str:
        """Run shell text as the site's ordinary user, by ssh; its stdout."""
        return self._kit("ssh", site, command, check=check, timeout_s=timeout_s)

    def exec(self, site: str, *argv: str, check: bool = True, timeout_s: float = 60, stdin: str = "") -> str:
        """Run a command as root inside the site, not by ssh: works while the site is cut off; its stdout."""
        return self._kit("exec", site, *argv, check=check, timeout_s=timeout_s, stdin=stdin)

    def cut(self, site: str, peer: str | None = None) -> None:
        """Lose all packets of a site, or those between it and ``peer`` (a site or ``main``)."""
        self._kit("cut", site, *([peer] if peer else []))

    def heal(self, site: str, peer: str | None = None) -> None:
        """Undo :meth:`cut`."""
        self._kit("heal", site, *([peer] if peer else []))

    def links(self, *rules: str) -> None:
        """Who may open connections to whom: ``A>B`` or ``A-B``; none: as at the start."""
        self._kit("links", *(rules or self.env.get("TESTBED_LINKS", DEFAULT_LINKS).split()))

    @contextmanager
    def partition(self, site: str, peer: str | None = None) -> Iterator[None]:
        """The site is cut off inside the block."""
        self.cut(site, peer)
        try:
            yield
        finally:
            self.heal(site, peer)

    # --- counting at the site

    def sshd_log_bytes(self, site: str) -> int:
        """Length of the log of a site's sshd: a moment, for :meth:`login_since`."""
        return int(self.exec(site, "stat", "-c", "%s", "/var/log/sshd.log"))

    def login_since(self, site: str, moment: int) -> Login:
        """What came in at a site's sshd, from anywhere, since ``moment``."""
        log = self.exec(site, "tail", "-c", f"+{moment + 1}", "/var/log/sshd.log")
        accepted = len(re.findall(r"^Accepted publickey for ", log, re.M))
        commands = len(re.findall(r"^Starting session: (?:command|shell|subsystem)", log, re.M))
        return Login(accepted, commands)

    @contextmanager
    def counting(self, site: str, *programs: str) -> Iterator[CallCounter]:
        """Count how often ``programs`` (of ``/usr/bin``) are called at the site, by whatever route."""
        log = f"/run/calls.{os.urandom(4).hex()}"
        self.exec(site, "install", "-m", "666", "/dev/null", log)
        for program in programs:
            wrapper = f'#!/bin/sh\necho "{program} $*" >>{log}\nexec /usr/bin/{program} "$@"\n'
            put = f"printf %s {shlex.quote(wrapper)} >/usr/local/bin/{program}; chmod 755 /usr/local/bin/{program}"
            self.exec(site, "sh", "-c", put)
        try:
            yield CallCounter(self, site, log)
        finally:
            self.exec(site, "rm", "-f", *(f"/usr/local/bin/{program}" for program in programs), check=False)

    def _kit(self, *args: str, check: bool = True, timeout_s: float = 60, stdin: str = "") -> str:
        done = subprocess.run(
            [str(KIT), *args], env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"testbed {shlex.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


@dataclass(frozen=True)
class CallCounter:
    """Calls of programs at a site; see :meth:`Testbed.counting`."""

    testbed: Testbed
    site: str
    log: str

    def calls(self, program: str) -> list[str]:
        """The argument lists of all calls of ``program`` so far, one string each."""
        lines = self.testbed.exec(self.site, "cat", self.log).splitlines()
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == program]

    def __getitem__(self, program: str) -> int:
        return len(self.calls(program))
