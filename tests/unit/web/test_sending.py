# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is sent, where something changes meanwhile, and under which name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_hybrid.web.folder import CHUNK_BYTES, OpenOutput
from airflow_hybrid.web.sending import attachment


def opened(path: Path) -> OpenOutput:
    return OpenOutput(path.open("rb"), path.stat())


def test_memory_is_bounded_by_a_piece(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (2 * CHUNK_BYTES + 1))
    with (output := opened(file)).stream:
        assert [len(chunk) for chunk in output.chunks()] == [CHUNK_BYTES, CHUNK_BYTES, 1]


@pytest.mark.parametrize("change", ["grown", "cut", "touched"])
def test_a_file_that_changes_while_it_is_sent_is_never_sent_to_its_end(tmp_path: Path, change: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (2 * CHUNK_BYTES))
    with (output := opened(file)).stream:
        chunks = output.chunks()
        sent = len(next(chunks))
        if change == "grown":
            file.write_bytes(b"x" * (3 * CHUNK_BYTES))
        elif change == "cut":
            os.truncate(file, CHUNK_BYTES)
        else:
            os.utime(file, ns=(0, 0))
        with pytest.raises(OSError, match="an output was changed while it was sent"):
            sent += sum(len(chunk) for chunk in chunks)
    assert sent < output.status.st_size


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("report.txt", "report.txt", "report.txt"),
        ("../../.bashrc", "_._.._.bashrc", "_._.._.bashrc"),
        (".bashrc", "_bashrc", "_bashrc"),
        ('a"; filename="b', "a__ filename=_b", "a_%3B%20filename%3D_b"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie: x", "a__Set-Cookie%3A%20x"),
        ("\u202eexe.txt", "_exe.txt", "_exe.txt"),
        ("données.csv", "donn_es.csv", "donn%C3%A9es.csv"),
        ("\udcff", "_", "_"),
    ],
)
def test_a_name_is_one_visible_name_in_one_header(name: str, plain: str, encoded: str) -> None:
    assert attachment(name) == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
