# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The probe against real files, with the worst names there are."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import SiteError, StatusUnknownError
from airflow_hybrid.model import FileFact, Question, SiteFacts
from airflow_hybrid.sites.hosts.base import Command, CommandResult
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.probing import probe
from airflow_hybrid.sites.hosts.processes import ChildProcess
from tests.raising import raising
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost

NAMES = ["plain", "-n", "a b", "new\nline", "q'\"$x`", "back\\slash", "é\U0001f600", "*", ".hidden", "\udcff raw"]


class NarrowHost(ShellHost):
    """One where few files may be open at a time."""

    async def _start(self, command: str) -> ChildProcess:
        return await super()._start(f"ulimit -n 64\n{command}")


@pytest.fixture(params=[*EVERY_SHELL, *(f"narrow-{shell}" for shell in EVERY_SHELL)])
def host(request: pytest.FixtureRequest) -> ShellHost:
    narrow, _, shell = request.param.rpartition("-")
    return NarrowHost(shell) if narrow else ShellHost(shell)


def sha1(data: bytes) -> str:
    return "sha1$" + hashlib.sha1(data, usedforsecurity=False).hexdigest()


async def test_a_location_without_gnu_programs_is_one_message(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox: apt-get install busybox-static")
    subprocess.run([busybox, "--install", "-s", str(tmp_path)], check=True)
    with pytest.raises(SiteError) as caught:
        await probe.facts(ShellHost("busybox", {"PATH": str(tmp_path)}), trees=[str(tmp_path)])
    assert str(caught.value) == (
        "test (busybox): files cannot be examined: there is no `find -printf`\n"
        "  -> have GNU findutils and coreutils installed there, or name their folder as `config.path`"
    )


async def test_any_name_is_listed_with_size_and_checksum(host: ShellHost, tmp_path: Path) -> None:
    out = tmp_path / "out $d\n"
    for name in NAMES:
        (out / name).mkdir(parents=True)
        (out / name / name).write_bytes(os.fsencode(name))
    seen = await probe.facts(host, trees=[str(out)])
    assert set(seen.listings[str(out)]) == set(NAMES)
    for name in NAMES:
        data = os.fsencode(name)
        assert seen.files[f"{out}/{name}/{name}"] == FileFact("f", len(data), sha1(data))
        assert seen.files[f"{out}/{name}"].kind == "d" and seen.listings[f"{out}/{name}"] == (name,)


async def test_links_say_where_they_lead_and_are_not_read(host: ShellHost, tmp_path: Path) -> None:
    out, secret = tmp_path / "k/out", tmp_path / "secret"
    out.mkdir(parents=True)
    (secret / "sub").mkdir(parents=True)
    (secret / "f").write_text("hidden")
    (out / "inner").write_text("1234")
    links: dict[str, str | Path] = {
        "file": secret / "f",
        "dir": secret,
        "up": "../../..",
        "own": "inner",
        "gone": "nowhere",
        "loop": "loop",
    }
    for name, target in links.items():
        (out / name).symlink_to(target)
    seen = await probe.facts(host, trees=[str(out)])
    assert seen.files[f"{out}/file"] == FileFact("f", 6, None, str(secret / "f"))
    assert seen.files[f"{out}/dir"] == FileFact("d", 0, None, str(secret))
    assert seen.files[f"{out}/up"] == FileFact("d", 0, None, str(tmp_path.parent))
    assert seen.files[f"{out}/own"].realpath == str(out / "inner")
    assert seen.files[f"{out}/gone"].kind == seen.files[f"{out}/loop"].kind == "?"
    assert f"{out}/dir" not in seen.listings and f"{out}/dir/f" not in seen.files


async def test_an_output_directory_that_became_a_link_is_seen_as_one(host: ShellHost, tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k/out").symlink_to("/etc")
    seen = await probe.facts(host, trees=[f"{tmp_path}/k/out"], bases=[str(tmp_path)])
    assert seen.files == {f"{tmp_path}/k/out": FileFact("d", 0, None, "/etc")}


async def test_a_job_directory_that_became_a_link_shows_in_all_below(host: ShellHost, tmp_path: Path) -> None:
    (tmp_path / "other/out").mkdir(parents=True)
    (tmp_path / "other/out/f").write_text("x")
    (tmp_path / "B").mkdir()
    (tmp_path / "B/k").symlink_to(tmp_path / "other")
    seen = await probe.facts(host, trees=[f"{tmp_path}/B/k/out"], bases=[f"{tmp_path}/B"])
    assert seen.files[f"{tmp_path}/B/k/out/f"].realpath == f"{tmp_path}/other/out/f"


async def test_a_home_that_is_a_link_is_no_escape(host: ShellHost, tmp_path: Path) -> None:
    (tmp_path / "real/u/B/k/out").mkdir(parents=True)
    (tmp_path / "real/u/B/k/out/f").write_text("x")
    (tmp_path / "real/u/B/k/out/l").symlink_to("f")
    (tmp_path / "home").symlink_to("real")
    home = f"{tmp_path}/home/u"
    seen = await probe.facts(host, trees=[f"{home}/B/k/out"], bases=[home, f"{home}/B"])
    assert seen.files[f"{home}/B/k/out/f"].realpath is None
    assert seen.files[f"{home}/B/k/out/l"].realpath == f"{home}/B/k/out/f"


async def test_special_files_hang_nothing(host: ShellHost, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    questions = [Question(ask, str(tmp_path / n)) for n in ("pipe", "zero") for ask in ("stat", "contents", "checksum")]
    seen = await probe.facts(host, questions, trees=[str(tmp_path)])
    assert {seen.files[f"{tmp_path}/{name}"].kind for name in ("pipe", "zero")} == {"?"} and not seen.contents


async def test_questions_are_answered_whatever_is_there(host: ShellHost, tmp_path: Path) -> None:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "empty").touch()
    (tmp_path / "-big\n").write_bytes(b"\0x" * 50_000)
    (tmp_path / "text").write_bytes(b"one\n\0two")
    (tmp_path / "link").symlink_to("text")

    def q(ask: str, name: str) -> Question:
        return Question(ask, f"{tmp_path}/{name}")

    asked = [q("contents", n) for n in ("empty", "-big\n", "text", "link", "absent", "d")]
    asked += [q("list", "d"), q("list", "d/sub"), q("list", "absent"), q("stat", "text"), q("checksum", "link")]
    seen = await probe.facts(host, asked)
    assert seen.contents[f"{tmp_path}/-big\n"] == (b"\0x" * 50_000)[: probe.CONTENTS_BYTES]
    assert seen.contents[f"{tmp_path}/text"] == seen.contents[f"{tmp_path}/link"] == b"one\n\0two"
    assert seen.contents[f"{tmp_path}/empty"] == b""
    assert f"{tmp_path}/absent" not in seen.contents and f"{tmp_path}/d" not in seen.contents
    assert seen.files[f"{tmp_path}/absent"].kind == "?" and f"{tmp_path}/absent" not in seen.listings
    assert seen.listings[f"{tmp_path}/d"] == ("sub",) and seen.listings[f"{tmp_path}/d/sub"] == ()
    assert seen.files[f"{tmp_path}/text"] == FileFact("f", 8)
    assert seen.files[f"{tmp_path}/link"] == FileFact("f", 8, sha1(b"one\n\0two"), f"{tmp_path}/text")
    assert await probe.facts(host) == SiteFacts()


async def test_ten_thousand_outputs_take_one_command(tmp_path: Path) -> None:
    host = ShellHost("dash")
    for i in range(10_000):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}/out").mkdir()
        (tmp_path / f"{i}/out/o").write_text(str(i))
    trees = [f"{tmp_path}/{i}/out" for i in range(10_000)]
    began = os.times().children_user
    seen = await probe.facts(host, trees=trees, bases=[str(tmp_path)])
    seconds = os.times().children_user - began  # of CPU
    assert len(host.commands) == 1 and seen.files[f"{trees[77]}/o"].checksum == sha1(b"77")
    assert sum(fact.realpath is not None for fact in seen.files.values()) == 0
    assert seconds < 60, seconds


async def test_more_files_than_can_be_open_at_once_are_read(host: ShellHost, tmp_path: Path) -> None:
    files = {str(tmp_path / f"{number}\n"): str(number).encode() for number in range(230)}
    for path, content in files.items():
        Path(path).write_bytes(content)
    asked = [Question("contents", path, str(tmp_path)) for path in files]
    seen = await probe.facts(host, asked, trees=[str(tmp_path)])
    assert {path: seen.contents[path] for path in files} == files
    assert {path: seen.files[path].checksum for path in files} == {path: sha1(text) for path, text in files.items()}


async def test_an_answer_that_was_cut_is_no_answer(tmp_path: Path) -> None:
    class Cut(ShellHost):
        async def run(self, command: str, **more: Any) -> CommandResult:
            result = await super().run(command, **more)
            return CommandResult("", "", 0, result.stdout[: len(result.stdout) // 2], b"")

    (tmp_path / "f").write_text("x")
    with pytest.raises(StatusUnknownError):
        await probe.facts(Cut("dash"), trees=[str(tmp_path)])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "it was cut off"),
        (b"#end", "it was cut off"),
        (b"Z9 9 /dev/fd/3\0#end\0", "unexpected record b'Z9 9 /dev/fd/3'"),
        (b"#more\0", "unexpected record b'#more'"),
        (b"\0", "unexpected record b''"),
        (b"L/a\0#end\0", "it was cut off"),
        (b"L/a\0#real\0b\0#end\0", "a symbolic link changed while it was read"),
        (b"C9 1 /a\0#bytes\0x\0#no\0", "a file changed while it was read"),
        (b"Tff644 1 1.0 1.0 /a\0Uff644 2 1.0 1.0 /a\0#end\0", "/a changed while it was examined"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_none(answer: bytes, problem: str) -> None:
    class Odd(LocalHost):
        async def _run(self, command: Command) -> CommandResult:
            return CommandResult(self.title, command.label, 0, answer, b"")

    host = Odd()
    with pytest.raises(StatusUnknownError) as error:
        await probe.facts(host, [Question("stat", "/a")])
    assert str(error.value) == f"{host.title}: the probe failed: {problem}"


def test_relative_paths_are_refused() -> None:
    with raising(ValueError, "not an absolute path: '-rf'"):
        probe.build([Question("stat", "-rf")], [], [])


async def test_a_folder_in_a_listed_folder_is_not_known_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    found = await probe.facts(LocalHost(), [Question("list", str(tmp_path / "a"))])
    assert found.listings == {str(tmp_path / "a"): ("b",)}


async def test_a_document_is_read_to_its_end(host: ShellHost, tmp_path: Path) -> None:
    text = b"[" + b"1," * 100_000 + b"1]"
    (tmp_path / "long").write_bytes(text)
    (tmp_path / "other").write_bytes(text)
    seen = await probe.facts(
        host, [Question("document", str(tmp_path / "long")), Question("contents", str(tmp_path / "other"))]
    )
    assert seen.contents[f"{tmp_path}/long"] == text
    assert seen.contents[f"{tmp_path}/other"] == text[: probe.CONTENTS_BYTES]


def test_nothing_is_started_for_what_is_not_asked() -> None:
    text, _ = probe.build([Question("stat", "/a\n"), Question("checksum", "/b")], [], ["/"])
    assert [part for part in ("[t]", "[l]", "[k]", "[c]", "[d]", "[C]", "[D]", "ah_opener") if part in text] == ["[k]"]


async def test_programs_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    run = LocalHost._run

    async def noted(self: LocalHost, command: Command) -> CommandResult:
        asked.append("find /" if "find / -prune" in command.text else "")
        return await run(self, command)

    monkeypatch.setattr(LocalHost, "_run", noted)
    for _ in range(2):
        await probe.facts(LocalHost("once"), trees=[str(tmp_path)])
    assert asked == ["find /", ""]
