# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The shell text of transfers, run by real shells."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from airflow_hybrid.removal import MARKER
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.files.link_script import link_files
from tests import needs
from tests.unit.sites.shell_hosts import sh


class Shell:
    """A shell with this machine's programs, or busybox with its own only."""

    def __init__(self, argv: list[str], path: str | None) -> None:
        self.argv, self.environment = argv, {"PATH": path} if path else None

    def __call__(self, text: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self.argv, text], input=stdin, capture_output=True, env=self.environment)


@pytest.fixture(params=["dash", "bash", "ksh93", "zsh", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    if request.param != "busybox":
        return Shell([sh(request.param), "-c"], None)
    busybox = needs.program("busybox")
    folder = tmp_path_factory.mktemp("applets")
    subprocess.run([busybox, "--install", "-s", str(folder)], check=True)
    return Shell([str(folder / "sh"), "-c"], str(folder))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "d" / "empty").mkdir(parents=True)
    (made / "d" / "in it's").write_text("1\n")
    (made / "d" / "link").symlink_to("in it's")
    (made / "new\nline").write_text("2")
    return made


def test_what_is_sent_arrives_verified_and_named(shell: Shell, source: Path, tmp_path: Path) -> None:
    paths = [str(source / "d"), str(source / "new\nline")]
    seen = shell(scripts.look([(path, True) for path in paths]))
    sights = scripts.parse_look(seen.stdout, 2)
    assert [(s.kind, s.size) for s in sights] == [("d", 4), ("f", 1)]
    assert sights[1].digest == hashlib.sha1(b"2").hexdigest()
    store = tmp_path / "store"
    items = [
        scripts.Item(s.kind, s.path, f"{store}/aa/{s.digest}/{Path(p).name}", s.digest or "")
        for s, p in zip(sights, paths, strict=True)
    ]
    stream = shell(scripts.send([s.path for s in sights], compress=False))
    assert stream.returncode == 0
    ended = shell(scripts.receive(str(store), "t", items, compressed=False), stream.stdout)
    received = scripts.parse_receive(ended.stdout.decode())
    assert (received.states, received.exit_code) == ({0: "ok", 1: "ok"}, 0), ended.stderr
    assert received.free_kib and received.free_kib > 0
    assert [p.name for p in store.iterdir() if p.name != MARKER] == ["aa"]
    again = shell(scripts.exists([(i.target, i.kind, True) for i in items]))
    assert scripts.parse_exists(again.stdout.decode(), 2) == [i.digest for i in items]


def test_a_stream_that_breaks_gives_nothing_its_name(shell: Shell, source: Path, tmp_path: Path) -> None:
    (source / "big").write_bytes(b"x" * 100_000)
    digest = hashlib.sha1(b"x" * 100_000).hexdigest()
    item = scripts.Item("f", str(source / "big"), str(tmp_path / "store" / "aa" / "bb" / "big"), digest)
    stream = shell(scripts.send([item.sent], compress=False)).stdout[:50_000]
    ended = shell(scripts.receive(str(tmp_path / "store"), "t", [item], compressed=False), stream)
    received = scripts.parse_receive(ended.stdout.decode())
    assert received.states[0].startswith("bad") and received.exit_code != 0
    assert not list((tmp_path / "store").rglob("big*")) and not list((tmp_path / "store").glob(".incoming*"))


def test_the_exit_code_of_tar_is_seen_through_the_compressor(shell: Shell, tmp_path: Path) -> None:
    assert shell(scripts.send([str(tmp_path / "nothing")], compress=True)).returncode != 0


def hostile(*members: tuple[str, str | bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_a_site_cannot_write_outside_or_leave_a_link(shell: Shell, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "secret").write_text("secret")
    digest = hashlib.sha1(b"secret").hexdigest()
    stream = hostile(
        ("./s/dir", str(victim)),
        ("./s/dir/evil", b"evil"),
        ("../../../evil", b"evil"),
        (f"{victim}/evil", b"evil"),
        ("./s/file", str(victim / "secret")),
    )
    items = [scripts.Item("f", "/s/file", str(tmp_path / "store" / "aa" / digest / "file"), digest)]
    ended = shell(scripts.receive(str(tmp_path / "store"), "t", items, compressed=False), stream)
    assert scripts.parse_receive(ended.stdout.decode()).states == {0: "bad -"}
    assert [p.name for p in victim.iterdir()] == ["secret"]
    assert not [p for p in tmp_path.rglob("evil")] and not [p for p in (tmp_path / "store").rglob("file")]


def test_links_follow_what_is_there(shell: Shell, source: Path, tmp_path: Path) -> None:
    pairs = [(str(source / "d"), f"{tmp_path}/l/d"), (str(source / "d" / "in it's"), f"{tmp_path}/l/f")]
    for _ in range(2):
        ended = shell(link_files([*pairs, (str(source / "nothing"), f"{tmp_path}/l/n")], "t"))
        assert ended.stdout.decode().split() == ["ok", "ok", "gone"]
    assert sorted(p.name for p in (source / "d").iterdir()) == ["empty", "in it's", "link"]
    (tmp_path / "real").mkdir()
    assert shell(link_files([(str(source / "d"), f"{tmp_path}/real")], "t")).stdout == b"bad\n"
    assert not list((tmp_path / "real").iterdir())


def test_what_is_put_gets_its_name_only_when_told(shell: Shell, tmp_path: Path) -> None:
    ended = shell(scripts.put(str(tmp_path / "r"), "t"), b"abc")
    assert ended.stdout.decode().split() == ["3", hashlib.sha1(b"abc").hexdigest()]
    assert not (tmp_path / "r" / "f").exists()
    assert shell(scripts.commit(str(tmp_path / "r"), "t", str(tmp_path / "r" / "f"))).returncode == 0
    assert (tmp_path / "r" / "f").read_bytes() == b"abc" and len(list((tmp_path / "r").iterdir())) == 1
    shell(scripts.put(str(tmp_path / "r"), "u"), b"abc")
    assert shell(scripts.discard(str(tmp_path / "r"), "u")).returncode == 0
    assert len(list((tmp_path / "r").iterdir())) == 1


def test_a_copy_that_is_not_there_is_never_taken_for_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    asked = [
        (f"{tmp_path}/{name}", kind, True) for name, kind in (("none", "f"), ("f", "f"), ("none", "d"), ("f", "d"))
    ]
    seen = scripts.parse_exists(shell(scripts.exists(asked)).stdout.decode(), 4)
    assert seen == [None, "a9993e364706816aba3e25717850c26c9cd0d89d", None, None]
