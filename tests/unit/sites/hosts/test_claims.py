# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A claim is one process's at a time: where locks hold, where they hold per host, and where there are none."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from airflow_hybrid.sites.hosts import claims
from tests.unit.sites.other_hosts import OtherHost
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost

NO_LOCKS = '#!/bin/sh\necho "flock: 9: No locks available" >&2\nexit 71\n'


def claimed(folder: Path, then: str, wait_s: int = 20) -> str:
    return (
        f"{claims.functions()}\nah_claim {shlex.quote(str(folder))} lock {wait_s}\n"
        'case $? in 0) ;; 1) echo "held by $ah_holder"; exit ;; *) echo "impossible: $ah_holder"; exit ;; esac\n'
        f"{then}\n"
    )


def inside(folder: Path) -> str:
    """What two must not do at once."""
    place = shlex.quote(str(folder / "inside"))
    return f"mkdir {place} || echo two at once\nsleep 0.03\nrmdir {place}\nah_held || echo lost\nah_release\necho done"


def aged(folder: Path, seconds: int) -> None:
    for link in folder.glob("lock.*"):
        os.utime(link, (time.time() - seconds,) * 2, follow_symlinks=False)


async def said(host: ShellHost, text: str) -> str:
    return (await host.run(text)).out.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_two_hosts_with_locks_of_their_own_and_one_without_any_take_turns(
    shell: str, folder: Path, tmp_path: Path
) -> None:
    hosts = [
        OtherHost(tmp_path / "login1", shell),
        OtherHost(tmp_path / "login2"),
        OtherHost(tmp_path / "login3", flock=NO_LOCKS),
    ]
    answers = await asyncio.gather(*(said(host, claimed(folder, inside(folder))) for host in hosts for _ in range(3)))
    assert answers == ["done"] * 9
    assert [path.name for path in folder.iterdir() if path.is_symlink()] == []


async def killed(host: ShellHost, folder: Path, then: str) -> None:
    """The owner of the claim is killed by a signal that it cannot see."""
    text = claimed(folder, f"echo $$ >{shlex.quote(str(folder / 'owner'))}; {then}")
    task = asyncio.create_task(host.run(text))
    while not (folder / "owner").exists() or not (folder / "owner").read_text():
        await asyncio.sleep(0.02)
    os.kill(int((folder / "owner").read_text()), signal.SIGKILL)
    await asyncio.wait([task])
    task.exception()  # how the command ended does not matter


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_the_claim_of_a_killed_process_of_this_host_is_taken_over(
    shell: str, folder: Path, tmp_path: Path
) -> None:
    host = OtherHost(tmp_path / "login1", shell)
    for _ in range(2):  # who takes over is killed, too: the chain is longer
        await killed(host, folder, "exec sleep 30 9>&-")
        (folder / "owner").unlink()
    answers = await asyncio.gather(*(said(host, claimed(folder, inside(folder))) for _ in range(4)))
    assert answers == ["done"] * 4
    assert [path.name for path in folder.iterdir() if path.is_symlink()] == []


async def test_who_takes_over_waits_for_what_the_killed_process_had_started(folder: Path, tmp_path: Path) -> None:
    host = OtherHost(tmp_path / "login1")
    program = f"(sleep 1; echo submitted >{shlex.quote(str(folder / 'program'))}) >/dev/null 2>&1 &\nexec sleep 30 9>&-"
    await killed(host, folder, program)
    assert not (folder / "program").exists()
    assert await said(host, claimed(folder, f"cat {shlex.quote(str(folder / 'program'))}; ah_release")) == "submitted"


async def test_the_process_of_another_host_is_never_judged_by_its_id(folder: Path, tmp_path: Path) -> None:
    one, other = OtherHost(tmp_path / "login1"), OtherHost(tmp_path / "login2")
    await killed(one, folder, "exec sleep 30 9>&-")
    pid = (folder / "owner").read_text().strip()
    answer = claimed(folder, inside(folder), wait_s=1)
    assert await said(other, answer) == f"held by process {pid} on login1"
    aged(folder, claims.GRACE_S - 60)
    assert await said(other, answer) == f"held by process {pid} on login1"
    aged(folder, claims.GRACE_S + 5)
    both = claimed(folder, inside(folder))
    assert await asyncio.gather(*(said(host, both) for host in (other, one))) == ["done"] * 2
    assert [path.name for path in folder.iterdir() if path.is_symlink()] == []


async def test_a_process_that_lived_on_sees_that_another_host_took_its_claim_over(folder: Path, tmp_path: Path) -> None:
    one, other = OtherHost(tmp_path / "login1"), OtherHost(tmp_path / "login2")
    go, began = shlex.quote(str(folder / "go")), folder / "began"
    waits = f"echo >{shlex.quote(str(began))}\nuntil [ -e {go} ]; do sleep 0.1; done"
    slow = claimed(folder, f"ah_held && echo mine\n{waits}\nah_held || echo lost\nah_release")
    first = asyncio.create_task(said(one, slow))
    while not began.exists():
        await asyncio.sleep(0.02)
    aged(folder, claims.GRACE_S + 5)
    second = claimed(folder, f"echo >{go}; sleep 0.5; ah_held && echo mine; ah_release")
    assert await said(other, second) == "mine"
    assert await first == "mine\nlost"
    assert [path.name for path in folder.iterdir() if path.is_symlink()] == []


async def test_a_container_of_the_same_kernel_is_judged_by_the_lock_that_both_share(
    folder: Path, tmp_path: Path
) -> None:
    host = ShellHost("dash")
    await killed(host, folder, "exec sleep 30 9>&-")
    owner = os.readlink(folder / "lock.owner")
    (folder / "lock.owner").unlink()
    boot, _, rest = owner.split(":", 2)
    (folder / "lock.owner").symlink_to(f"{boot}:1:{rest}")
    assert await said(host, claimed(folder, inside(folder), wait_s=1)) == "done"
    (folder / "lock.owner").symlink_to(f"{boot}:1:{rest}")
    with subprocess.Popen(["flock", "--no-fork", folder / "lock", "sleep", "100"]) as lock:
        await asyncio.sleep(0.5)
        answer = await said(host, claimed(folder, inside(folder), wait_s=1))
        lock.kill()
    assert re.fullmatch(r"held by process \d+ on .+", answer)


async def test_without_links_the_lock_alone_holds(folder: Path, tmp_path: Path) -> None:
    (folder / "lock.owner").mkdir()  # no link of that name can be made
    host = ShellHost("dash")
    answers = await asyncio.gather(*(said(host, claimed(folder, inside(folder))) for _ in range(3)))
    assert answers == ["done"] * 3
    none = OtherHost(tmp_path / "login1", flock=NO_LOCKS)
    answer = await said(none, claimed(folder, inside(folder), wait_s=1))
    assert answer == f"impossible: {folder}/lock.owner is a folder"
