# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether the disks that jobs write to are full: then jobs fail that have nothing wrong with them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import SiteError
from airflow_hybrid.sites.hosts.base import Host

FULL_KIB = 1024
FULL_FILES = 10
"""free space and free files, below which a disk counts as full"""
TIMEOUT_S = 60.0


async def full(host: Host, folders: Sequence[str]) -> str:
    """Which of some folders is on a full disk, in words; ``""``: none, or the location does not say.

    :raises SiteError: the location cannot be asked.
    """
    answer = await host.run(_command(folders), timeout_s=TIMEOUT_S, label="look for room")
    lines = answer.out.splitlines()
    if len(lines) != 2 * len(folders):
        raise SiteError(f"`df` did not answer: {answer.err.strip()[-300:]}", where=host.title)
    for index, folder in enumerate(folders):
        kib, files = available(lines[2 * index]), available(lines[2 * index + 1])
        if kib is not None and kib < FULL_KIB:
            return f"its disk is full: {kib} KiB are left in {folder}"
        if files is not None and files < FULL_FILES:
            return f"its disk is full: {counted(files, 'more file')} can be made in {folder}"
    return ""


def _command(folders: Sequence[str]) -> str:
    looks = (
        f"df -P{unit} -- {shlex.quote(folder)} 2>/dev/null | tail -n 1 | grep . || printf '%s\\n' -"
        for folder in folders
        for unit in "ki"
    )
    return "\n".join(looks)


def available(line: str | None) -> int | None:
    """The fourth column of a line of ``df -P``, counted from the end because the first may contain spaces."""
    words = (line or "").split()
    percent = next((i for i, word in enumerate(words) if word.endswith("%") or word == "-"), len(words))
    return whole_number(words[percent - 1]) if 1 <= percent < len(words) else None


def whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
