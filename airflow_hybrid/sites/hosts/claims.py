# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Claims at a location: one process at a time does something in a folder, also where locks hold per host."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_hybrid import shell_text
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.hosts.base import Host

log = logging.getLogger(__name__)

GRACE_S = 600
"""The age at which a claim of another host is taken over: twice the time after which whoever asked for it gives up, by
default. A mistake does no harm: what both submit is recorded beside the batch, and each job is still begun once."""
PROGRAM_S = 30
"""The same for an ended process of this host, where no lock tells whether programs that it started still work."""
_MOST_SAID = 300

_told: set[tuple[str, str]] = set()
"""hosts of which it was told that files cannot be locked there"""


def functions(grace_s: float = GRACE_S) -> str:
    """Shell functions ``ah_claim``, ``ah_held`` and ``ah_release``; see ``shell/claim.sh``.

    :param grace_s: the age at which a claim of another host is taken over.
    """
    return shell_text.filled(__package__, "claim.sh", {"GRACE": str(round(grace_s)), "PROGRAM": str(PROGRAM_S)})


def tell_of_locks(host: Host, folder: str, lines: Sequence[str]) -> None:
    """Log, once per host, that files cannot be locked there.

    :param lines: of a command's answer; on one of them, ``N <why>``, it says that, and why.
    """
    why = next((line.removeprefix("N ") for line in lines if line.startswith("N ")), "")
    if why and (host.deployment, host.key) not in _told:
        _told.add((host.deployment, host.key))
        log.warning(
            "%s: files cannot be locked in %s (%s): claims alone keep apart what two processes must not do at once",
            host.title, folder, printable(why[:_MOST_SAID]),
        )  # fmt: skip
