# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Two hosts that share a folder but no locks bring an image once, and lose no records."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_hybrid.containers import RUNTIMES, ImagePaths
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.sites.containers.images import obtain_command
from airflow_hybrid.sites.reuse import commands
from tests.unit.sites.other_hosts import OtherHost

NO_LOCKS = '#!/bin/sh\necho "flock: 9: No locks available" >&2\nexit 71\n'
PODMAN = """#!/bin/sh
cd "${0%/*}"
case $1 in
image) [ -e there ] ;;
pull) echo pull >>calls; sleep 0.3; : >there ;;
save) echo save >>calls; echo layers >"$3" ;;
esac
"""


async def test_an_image_is_brought_once(tmp_path: Path) -> None:
    (tmp_path / "podman").write_text(PODMAN)
    (tmp_path / "podman").chmod(0o755)
    hosts = [
        OtherHost(tmp_path / "login1"),
        OtherHost(tmp_path / "login2"),
        OtherHost(tmp_path / "login3", flock=NO_LOCKS),
    ]
    for host in hosts:
        host.environment["PATH"] = f"{tmp_path}:{host.environment['PATH']}"
    places = ImagePaths(str(tmp_path / "images"))
    text = obtain_command(RUNTIMES["podman"], ImageSource(pull="x:1"), places, "x:1", f"{places.folder}/x.tar")
    answers = await asyncio.gather(*(host.run(text) for host in hosts))
    words = sorted(line for answer in answers for line in answer.out.splitlines())
    assert words == ["#ah obtained", "#ah present", "#ah present", "N flock: 9: No locks available"]
    assert (tmp_path / "calls").read_text() == "pull\nsave\n"


async def test_records_that_two_hosts_merge_at_once_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST_FILES", 4)
    hosts = [OtherHost(tmp_path / "login1"), OtherHost(tmp_path / "login2")]
    tool = "a" * 16
    keys = [f"{tool}/{number:064x}" for number in range(24)]

    async def store(number: int) -> int | None:
        stored = commands.store_input({keys[number]: {"outputs": {}}})
        return (await hosts[number % 2].run(commands.store_command(str(tmp_path)), stdin=stored)).exit_code

    for first in range(0, len(keys), 4):
        assert await asyncio.gather(*(store(first + n) for n in range(4))) == [0] * 4
    files = list((tmp_path / "reuse" / tool).glob("r.*"))
    lines = {line[:64] for path in files for line in path.read_text().splitlines()}
    assert lines == {key.partition("/")[2] for key in keys} and len(files) < len(keys)
