# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A login name of one host or of several, whose locks hold between them or do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_hybrid.sites.check import locks
from airflow_hybrid.sites.check.findings import FAIL, OK, WARN
from tests.unit.sites.other_hosts import OtherHost
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost

FLOCK = '#!/bin/sh\nexec /usr/bin/flock "$@"\n'
NO_LOCKS = '#!/bin/sh\necho "flock: 9: No locks available" >&2\nexit 71\n'


async def met(one: ShellHost, other: ShellHost, workdirs: tuple[Path, Path]) -> tuple[dict[str, str], dict[str, str]]:
    sides = zip((one, other), workdirs, ("holds", "tries"), strict=True)
    answers = await asyncio.gather(
        *(host.run(locks._side(str(workdir), ".airflow-hybrid-check.x", side)) for host, workdir, side in sides)
    )
    left = [path.name for path in workdirs[0].iterdir()]
    assert left == []
    first, second = (locks._lines(answer.out) for answer in answers)
    return first, second


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_two_sides_meet_and_say_whether_a_lock_holds(shell: str, tmp_path: Path) -> None:
    work = tmp_path / "a 'b' $c"
    work.mkdir()
    shared = OtherHost(tmp_path / "login1", shell, flock=FLOCK), OtherHost(tmp_path / "login2", shell, flock=FLOCK)
    one, other = await met(*shared, (work, work))
    assert other["lock"] == "held" and one["boot"] != other["boot"]
    apart = OtherHost(tmp_path / "login3", shell), OtherHost(tmp_path / "login4", shell)
    assert (await met(*apart, (work, work)))[1]["lock"] == "free"
    none = OtherHost(tmp_path / "login5", shell, flock=NO_LOCKS)
    assert (await met(none, none, (work, work)))[1]["lock"] == "flock: 9: No locks available"


async def test_hosts_that_do_not_see_each_others_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "MEET_S", 1)
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    host = ShellHost("dash")
    assert (await met(host, host, folders))[1]["lock"] == "apart"


LOGIN1, LOGIN2 = {"host": "login1", "boot": "1"}, {"host": "login2", "boot": "2"}
CLAIMS = "nothing to do: claims, which need no locks, keep submits apart"


@pytest.mark.parametrize(
    ("other", "on_host", "judged"),
    [
        ({**LOGIN1, "lock": "held"}, True, (OK, "two connections led to one host, login1", "")),
        ({**LOGIN2, "lock": "held"}, False,
         (OK, "this name leads to login1 and login2, and locks hold between them", "")),
        ({**LOGIN2, "lock": "free"}, False,
         (WARN, "this name leads to login1 and login2, and locks do not hold between them", CLAIMS)),
        ({**LOGIN2, "lock": "held"}, True,
         (WARN, "this name leads to login1 and login2",
          "jobs of this deployment are processes of one of them, which the other one does not see: name one host")),
        ({**LOGIN2, "lock": "apart"}, False,
         (FAIL, "the work directory: this name leads to login1 and login2, which do not share it",
          "give the deployment a `workdir` that all of them see")),
        ({**LOGIN1, "lock": "No locks available"}, False,
         (WARN, "files cannot be locked in the work directory: No locks available", CLAIMS)),
        ({}, False, (WARN, "two connections could not meet in the work directory", "")),
    ],
)  # fmt: skip
def test_what_is_told(other: dict[str, str], on_host: bool, judged: tuple[str, str, str]) -> None:
    assert locks.judged(LOGIN1, other, on_host=on_host) == judged
