# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""This machine as another Unix user: commands have that user's rights, not Airflow's."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import LOCAL_LOCATION
from airflow_hybrid.printable import readable
from airflow_hybrid.sites.hosts.base import ByteStream, Command, CommandResult, Stdin, first_line, read_end
from airflow_hybrid.sites.hosts.local import ARGUMENT_LIMIT, LocalHost, clean_environment
from airflow_hybrid.sites.hosts.processes import DEVNULL, ChildProcess, start_process

_BLOCK_BYTES = 4096
_OF_THE_USER = ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR")


class UserHost(LocalHost):
    """Commands as another user of this machine: directly if this process is root, otherwise through ``sudo -n``.

    :param user: name of the user.
    """

    def __init__(
        self,
        deployment: str,
        user: str,
        cores: int | None = None,
        *,
        prelude: str = "",
        variables: Sequence[str] = (),
    ) -> None:
        super().__init__(deployment, LOCAL_LOCATION, cores, prelude=prelude, variables=variables)
        self.user = user
        self._allowed = False

    @property
    def title(self) -> str:
        return f"{self.deployment} ({self.location} as {self.user})"

    def with_variables(self, names: Sequence[str], prelude: str = "") -> LocalHost:
        return UserHost(self.deployment, self.user, self.cores, prelude=self.prelude + prelude, variables=names)

    async def _run(self, command: Command) -> CommandResult:
        text, preamble = self._argument(command.text)
        return await super()._run(replace(command, text=text, stdin=_preceded(preamble, command.stdin)))

    @contextlib.asynccontextmanager
    async def stream(self, command: str, *, label: str | None = None) -> AsyncIterator[ByteStream]:
        text, preamble = self._argument(command)
        async with super().stream(text, label=label or first_line(command)) as stream:
            if preamble:
                await stream.write(preamble)
            yield stream

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        return None  # whoever starts it would have to become the user

    def _argument(self, command: str) -> tuple[str, bytes]:
        """Shell text that fits into an argument, and what it reads from stdin first, if it is too long.

        A file cannot be passed: the user could not open it, and sudo closes descriptors.
        """
        if len(self.prelude + command) <= ARGUMENT_LIMIT:
            return command, b""
        encoded = os.fsencode(command)
        blocks = -(-len(encoded) // _BLOCK_BYTES)
        text = f'eval "$(dd bs={_BLOCK_BYTES} count={blocks} iflag=fullblock 2>/dev/null)"'
        return text, encoded.ljust(blocks * _BLOCK_BYTES, b"\n")

    # --- becoming the user ------------------------------------------------------------------------------------------

    async def _spawn(self, command: str, pass_fds: Sequence[int] = ()) -> ChildProcess:
        account = self._account()
        environment = self._environment(account)
        if os.geteuid() == 0 or os.geteuid() == account.pw_uid:
            return await self._spawn_directly(command, account, environment)
        if not self._allowed:
            await self._ask_sudo()
        argv = [*self._sudo, "/usr/bin/env", "-i", *(f"{key}={value}" for key, value in environment.items())]
        return await start_process([*argv, "/bin/sh", "-c", command], env=clean_environment(), cwd=os.sep)

    async def _spawn_directly(
        self, command: str, account: pwd.struct_passwd, environment: dict[str, str]
    ) -> ChildProcess:
        become: dict[str, Any] = {}
        if os.geteuid() == 0:
            groups = os.getgrouplist(account.pw_name, account.pw_gid)
            become = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
        return await start_process(["/bin/sh", "-c", command], env=environment, cwd=os.sep, **become)

    def _account(self) -> pwd.struct_passwd:
        """:raises SiteError: there is no such user, or it is root."""
        hint = "create the user on every machine that runs Airflow's workers and triggerers, or name another one"
        try:
            account = pwd.getpwnam(self.user)
        except KeyError:
            raise SiteError(f"there is no user {self.user!r} on this machine", where=self.title, hint=hint) from None
        if account.pw_uid == 0:
            raise SiteError(
                f"the user {self.user!r} is root: `run_as` needs a user with fewer rights", where=self.title
            )
        return account

    def _environment(self, account: pwd.struct_passwd) -> dict[str, str]:
        environment = clean_environment(self.variables)
        for name in _OF_THE_USER:
            environment.pop(name, None)
        shell = account.pw_shell or "/bin/sh"
        return {**environment, "HOME": account.pw_dir, "USER": self.user, "LOGNAME": self.user, "SHELL": shell}

    @property
    def _sudo(self) -> list[str]:
        return ["sudo", "-n", "-u", self.user, "--"]

    async def _ask_sudo(self) -> None:
        """:raises SiteError: sudo does not let this user run commands as the other user."""
        try:
            process = await start_process(
                [*self._sudo, "/usr/bin/env", "-i", "/bin/sh", "-c", ":"], stdin=DEVNULL, stdout=DEVNULL
            )
            assert process.stderr is not None
            problem, code = readable(await read_end(process.stderr.read)).strip(), await process.wait()
        except FileNotFoundError:
            problem, code = "sudo is not installed", 127
        if code != 0:
            caller = pwd.getpwuid(os.geteuid()).pw_name
            raise SiteError(
                f"{caller} may not run commands as {self.user}: {problem}",
                where=self.title,
                hint=f"sudoers: `{caller} ALL=({self.user}) NOPASSWD: /usr/bin/env, /bin/kill`",
            )
        self._allowed = True

    async def _kill(self, process: ChildProcess) -> None:
        """The processes belong to another user: only root and that user may end them."""
        if os.geteuid() == 0:
            await super()._kill(process)
            return
        argv = [*self._sudo, "/bin/kill", "-s", "KILL", "--", f"-{process.pid}"]
        killing = await start_process(argv, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
        await killing.wait()  # 1: they have ended


def _preceded(preamble: bytes, stdin: Stdin) -> Stdin:
    if not preamble:
        return stdin
    if stdin is None or isinstance(stdin, bytes):
        return preamble + (stdin or b"")
    return _both(preamble, stdin)


async def _both(first: bytes, following: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in following:
        yield chunk
