# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Bytes of sites and jobs that are no text are shown as what they are, not as one sign for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.errors import CommandError
from airflow_hybrid.printable import printable_lines, readable
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.local import LocalHost

BYTES = b"caf\xe9 \xff\xfe \xed\xa0\x80 gr\xc3\xbc\xc3\x9fe \xf0\x9f\x98\x80 \xc3"
SHOWN = "caf\\xe9 \\xff\\xfe \\xed\\xa0\\x80 grüße 😀 \\xc3"


def test_each_byte_that_is_no_text_is_escaped() -> None:
    assert readable(BYTES) == printable_lines(readable(BYTES)) == SHOWN


async def test_the_stderr_of_a_job_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/stderr").write_bytes(BYTES)
    queue = JobQueue(LocalHost(), ProcessScheduler())
    assert await queue.tails(str(tmp_path), [f"{tmp_path}/job/stderr"]) == [SHOWN]


async def test_what_a_site_says_keeps_its_bytes() -> None:
    octal = "".join(f"\\{byte:03o}" for byte in BYTES)
    result = await LocalHost("hpc", "login").run(f"printf '{octal}' >&2; exit 3", label="look")
    with pytest.raises(CommandError) as error:
        result.check("it failed")
    assert str(error.value) == f"hpc (login): look: it failed (exit code 3)\n| {SHOWN}"
