# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which task made a file is told by its path, and by nothing that a task has published."""

from __future__ import annotations

import pytest

from airflow_hybrid.operators.recovery.producers import Producer, producers_of

FOLDERS = {"d/r/align": "align", "d/r/sub_7-0a": "sub.7"}
AT = "hybrid://hpc/login/scratch/ah"
MARK = "g0-0123456789"


def test_files_are_put_together_by_the_task_instance_that_made_them() -> None:
    files = [
        f"{AT}/d/r/align/3/{MARK}/a1-0a/00000-ff/out/x.bam",
        f"{AT}/d/r/align/3/{MARK}/a1-0a/00000-ff/out/deep/y.bam",
        f"{AT}/d/r/align/3/{MARK}@slow/a2-0b/00001-ee/out/z.bam",
        f"{AT}/d/r/align/4/{MARK}/a1-0c/00000-ff/out/x.bam",
        f"{AT}/d/r/sub_7-0a/g2-aaaaaaaaaa/a1-0d/0a0b/out",
    ]
    assert producers_of(files, FOLDERS) == [
        Producer("align", 3, MARK, {"00000-ff": "a1-0a", "00001-ee": "a2-0b"}, files[:3]),
        Producer("align", 4, MARK, {"00000-ff": "a1-0c"}, [files[3]]),
        Producer("sub.7", -1, "g2-aaaaaaaaaa", {"0a0b": "a1-0d"}, [files[4]]),
    ]


@pytest.mark.parametrize(
    "stranger",
    [
        f"{AT}/d/other/align/3/{MARK}/a1-0a/00000-ff/out/x",
        f"{AT}/d/r/unknown/{MARK}/a1-0a/00000-ff/out/x",
        f"{AT}/d/r/align/3/{MARK}/a1-0a/00000-ff/in/x",
        f"{AT}/d/r/align/3/g0-../a1-0a/00000-ff/out/x",
        f"{AT}/d/r/align/3/{MARK}x/a1-0a/00000-ff/out/x",
        f"{AT}/d/r/align/3/../3/{MARK}/a1-0a/00000-ff/out/x",
        "hybrid://hpc/login/data/x",
        "https://example.org/x",
        "not a location",
    ],
)
def test_a_file_that_no_job_of_the_run_has_made_is_not_made_again(stranger: str) -> None:
    ours = f"{AT}/d/r/align/3/{MARK}/a1-0a/00000-ff/out/x"
    assert producers_of([ours, stranger], FOLDERS) is None
