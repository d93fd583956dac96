# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Hosts for these tests: this machine, reached as sshd would, with an environment of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from airflow_hybrid.sites.hosts.base import CHUNK_BYTES, Command, CommandResult, feed
from airflow_hybrid.sites.hosts.local import LocalHost, clean_environment
from airflow_hybrid.sites.hosts.ssh.shell import after_marker, remote_command
from tests import needs

CHANGING = {
    "POSIXLY_CORRECT": "1",
    "CDPATH": "/:/usr",
    "TAR_OPTIONS": "--no-such-option",
    "GREP_OPTIONS": "--no-such-option",
    "GZIP": "--no-such-option",
    "XZ_OPT": "--no-such-option",
    "ENV": "/dev/full",
    "BASH_ENV": "/dev/full",
    "SHELLOPTS": "noclobber:noglob:nounset",
    "BLOCK_SIZE": "human-readable",
    "QUOTING_STYLE": "c",
    "SQUEUE_STATES": "RUNNING",
    "SQUEUE_USERS": "nobody",
    "SCANCEL_INTERACTIVE": "1",
    "SCANCEL_STATE": "PENDING",
    "SBATCH_WAIT": "1",
    "SBATCH_ARRAY_INX": "0-999",
    "SBATCH_CLUSTERS": "elsewhere",
    "SBATCH_EXCLUSIVE": "user",
    "SLURM_EXIT_ERROR": "0",
    "SLURM_BITSTR_LEN": "4",
    "SACCT_LOCAL": "1",
    "SCONTROL_FUTURE": "1",
    "PBS_DPREFIX": "#OTHER",
    "PBS_CLIENTRETRY": "86400",
    "SGE_DEBUG_LEVEL": "2 2 2 2 2 2 2 2",
    "FLUX_F58_FORCE_ASCII": "1",
    "_POSIX2_VERSION": "199209",
}
"""what a site's profile may set for people"""


class SiteHost(LocalHost):
    """This machine by the command lines that sshd gets, under a login shell."""

    def __init__(self, login_shell: str = "bash", environment: Mapping[str, str] | None = None) -> None:
        super().__init__("site", login_shell, 2)
        self.login_shell = needs.program(login_shell)
        self.environment = {**clean_environment(), **(environment or {})}

    async def _run(self, command: Command) -> CommandResult:
        line, preamble = remote_command(command.text)
        process = await asyncio.create_subprocess_exec(
            self.login_shell, "-c", line, stdin=-1, stdout=-1, stderr=-1, env=self.environment,
            start_new_session=True, limit=CHUNK_BYTES,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert command.stdin is None or isinstance(command.stdin, bytes)
        data = preamble + (command.stdin or b"")
        stdout, stderr, _, code = await asyncio.gather(
            process.stdout.read(), process.stderr.read(), feed(process, data), process.wait()
        )
        own, errors = after_marker(stdout), after_marker(stderr)
        assert own is not None, (stdout, stderr)
        return CommandResult(self.title, command.label, code, own, errors or b"")
