# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One process at a time gives outputs their names in an ``outdir``, also where files cannot be locked."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_hybrid.operators.gather import claim
from airflow_hybrid.operators.gather.claim import Claim
from airflow_hybrid.operators.gather.record import RECORD, OutdirRecord

NAME = "x"


def in_turn(folder: Path) -> str:
    number = os.open(folder, os.O_RDONLY)
    try:
        made = Claim(number, NAME, time.time)
        made.take()
        (folder / "inside").mkdir()  # fails if somebody else is inside
        time.sleep(0.02)
        (folder / "inside").rmdir()
        made.give_up()
    finally:
        os.close(number)
    return "done"


def links(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_symlink())


def test_threads_take_turns_and_what_killed_processes_left_is_taken_over(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from airflow_hybrid.operators.gather.claim import Claim\n"
        f"Claim(os.open(sys.argv[1], os.O_RDONLY), {NAME!r}, time.time).take(); os._exit(9)"
    )
    for count in (1, 2):
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        assert len(links(tmp_path)) == count
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(in_turn, [tmp_path] * 8)) == ["done"] * 8
    assert links(tmp_path) == []


def test_the_claim_of_another_machine_is_taken_over_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / f"{NAME}.owner"
    link.symlink_to("another-boot:1:1:1:elsewhere")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(in_turn, tmp_path)
        time.sleep(0.5)
        assert not waiting.done()
        os.utime(link, (time.time() - claim.GRACE_S - 5,) * 2, follow_symlinks=False)
        assert waiting.result() == "done"
    assert links(tmp_path) == []


def test_an_old_link_of_somebody_else_is_no_claim_and_stays(tmp_path: Path) -> None:
    link = tmp_path / f"{NAME}.owner"
    link.symlink_to("notes")
    os.utime(link, (time.time() - claim.GRACE_S - 5,) * 2, follow_symlinks=False)
    with pytest.raises(OSError, match=rf"{NAME}\.owner was not made by airflow_hybrid"):
        in_turn(tmp_path)
    assert links(tmp_path) == [link.name]


def test_a_record_that_cannot_be_locked_is_claimed_and_one_that_can_be_neither_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    number = os.open(tmp_path, os.O_RDONLY)
    try:
        record = OutdirRecord(number, str(tmp_path))
        record.lock()
        assert links(tmp_path) == [f"{RECORD}.owner"]
        record.close()
        assert links(tmp_path) == []
        (tmp_path / f"{RECORD}.owner").symlink_to("/etc/passwd")  # of somebody else
        with pytest.raises(OSError, match="No locks available"):
            record.lock()
        record.close()
    finally:
        os.close(number)
