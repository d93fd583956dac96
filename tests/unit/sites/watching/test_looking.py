# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A look at files: a real shell, names that break commands which do not quote, answers that are no answers."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from airflow_hybrid.errors import SiteError
from airflow_hybrid.sites.watching import looking
from airflow_hybrid.sites.watching.looking import Found, SeenFile, look, parsed
from airflow_hybrid.sites.watching.patterns import PathPattern, path_pattern
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost

HOSTILE = [
    "plain.csv",
    "two words.csv",
    "$(touch x).csv",
    "a'b\"c.csv",
    "-rf.csv",
    "new\nline.csv",
    "*.csv",
    "ü.csv",
    "a\\b.csv",
]


def names(found: Found) -> list[str]:
    return sorted(os.path.basename(file.path) for file in found.files)


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_files_of_a_pattern_are_seen_whatever_their_names(shell: str, tmp_path: Path) -> None:
    folder = tmp_path / "air flow's $(x) %y"
    folder.mkdir()
    for name in HOSTILE:
        (folder / name).write_text(name)
    (folder / "other.txt").write_text("")
    (folder / "sub.csv").mkdir()
    (folder / "link.csv").symlink_to(folder / "other.txt")
    (found,) = await look(ShellHost(shell), [PathPattern(str(folder), "*.csv")], "/")
    assert names(found) == sorted(HOSTILE)
    (plain,) = [file for file in found.files if file.path.endswith("plain.csv")]
    stat = (folder / "plain.csv").stat()
    assert (plain.path, plain.inode, plain.size) == (str(folder / "plain.csv"), stat.st_ino, 9)
    assert float(plain.mtime) == pytest.approx(stat.st_mtime, abs=1e-5)


async def test_bytes_that_are_no_text_are_a_name(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")).write_text("x")
    (found,) = await look(ShellHost(), [PathPattern(str(tmp_path), "*.csv")], "/")
    assert [os.fsencode(file.path)[-5:] for file in found.files] == [b"\xff.csv"]


async def test_wildcards_of_folders_match_one_level(tmp_path: Path) -> None:
    for path in ("a/in/1.csv", "b/in/2.csv", "b/out/3.csv", "a/b/in/4.csv", "5.csv"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    patterns = ["*/in/*.csv", "[ab]/in/1.csv", "*.csv", "no/such/folder/*"]
    found = await look(ShellHost(), [path_pattern(text) for text in patterns], str(tmp_path))
    assert [names(one) for one in found] == [["1.csv", "2.csv"], ["1.csv"], ["5.csv"], []]


async def test_one_command_looks_for_all_patterns(tmp_path: Path) -> None:
    host = ShellHost()
    await look(host, [PathPattern(str(tmp_path), f"{n}.csv") for n in range(50)], "/")
    assert len(host.commands) == 1


async def test_more_files_than_can_be_remembered_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_FILES", 3)
    for n in range(4):
        (tmp_path / f"{n}.csv").write_text("")
    (tmp_path / "x.txt").write_text("")
    csv, text = await look(ShellHost(), [PathPattern(str(tmp_path), "*.csv"), PathPattern(str(tmp_path), "*.txt")], "/")
    assert (csv, names(text)) == (Found(too_many=True), ["x.txt"])


async def test_a_site_without_gnu_find_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "find").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "find").chmod(0o755)
    host = ShellHost(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    with pytest.raises(SiteError) as error:
        await look(host, [PathPattern("/", "x")], "/")
    assert str(error.value) == (
        "test (sh): files cannot be watched for: there is no `find -printf`\n"
        "  -> have GNU findutils and coreutils installed there, or name their folder as `config.path`"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"D/x\0",
        b"D/x\0Z",
        b"F1 2 3 4 a\0Z\0",
        b"D/x\0F1 2 three 4 a\0Z\0",
        b"D/x\0FF\0Z\0",
        b"Dx\0F1 2 3 4 a\0Z\0",
        b"N\0N\0Z\0",
        b"Z\0",
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match="its answer"):
        parsed(answer, 1)


def test_an_answer_is_read() -> None:
    (found,) = parsed(b"D/x\0F1 2 3.5 4.25 a\nb\0Z\0", 1)
    assert found.files == (SeenFile("/x/a\nb", 1, 2, "3.5", "4.25"),)


def test_patterns_are_quoted() -> None:
    command = looking.command_for([PathPattern("a b", "$(x)'*")], "/w")
    assert shlex.quote("/w/a b") in command and shlex.quote("./$(x)'*") in command
