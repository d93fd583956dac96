# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checkpoints at a deployment whose time is over: counted, and removed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.amounts import counted, size
from airflow_hybrid.errors import CommandError, SiteError
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.hosts.base import Host

REMOVAL_S = 3600.0
"""how long the removal may take"""


@dataclass(frozen=True)
class Expired:
    """How many checkpoints have expired, and their size.

    :ivar ours: whether the folder is proved to be ours; if it is not, nothing in it is counted.
    """

    count: int = 0
    kib: int = 0
    ours: bool = True

    @property
    def words(self) -> str:
        """``3 expired checkpoints (12 MiB)``."""
        return f"{counted(self.count, 'expired checkpoint')} ({size(self.kib << 10)})"


async def expired(host: Host, root: str) -> Expired:
    """What has expired.

    :param root: the folder of the checkpoints.
    :raises SiteError: the location cannot be asked.
    """
    result = await host.run(_text(root, remove=False), timeout_s=REMOVAL_S, label="look for expired checkpoints")
    result.check(f"the checkpoints in {root} could not be examined")
    if not result.out:
        return Expired()
    count, kib, proof = [*result.out.rstrip("\n").split("\t"), "", ""][:3]
    if not count.isdecimal() or not kib.isdecimal():
        raise CommandError(f"the checkpoints in {root} could not be examined", result.end)
    return Expired(int(count), int(kib), proof == "ours")


async def remove_expired(host: Host, root: str) -> None:
    """Remove what has expired by now, if it is proved to be ours.

    :raises SiteError: something could not be removed.
    """
    result = await host.run(_text(root, remove=True), timeout_s=REMOVAL_S, label="removal of expired checkpoints")
    if result.exit_code == 3:
        raise SiteError(f"some of it could not be removed: {result.err.strip()[-600:]}")
    result.check(f"the checkpoints in {root} could not be removed")


def _text(root: str, *, remove: bool) -> str:
    values = {"ROOT": shlex.quote(root), "REMOVE": "1" if remove else ""}
    return removal.functions() + shell_text.filled(__package__, "expire.sh", values)
