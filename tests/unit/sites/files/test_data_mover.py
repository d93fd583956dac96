# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""DataMover between two deployments on this machine."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files import carrier, scripts
from airflow_hybrid.sites.files.links import ways
from airflow_hybrid.sites.files.mover import DataMover, StageRequest, store_path
from airflow_hybrid.sites.files.requests import Move
from airflow_hybrid.sites.files.transfer import Ended, Way, relay
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.local import LocalHost
from tests.raising import raising

DEPLOYMENTS = {"one": Deployment("one", "local"), "two": Deployment("two", "local")}


async def host(name: str = "two") -> Host:
    return (await open_connector(DEPLOYMENTS, name).hosts())[0]


def mover() -> DataMover:
    return DataMover(Locations(DEPLOYMENTS))


def described(path: Path, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class": "Directory" if path.is_dir() else "File", "basename": path.name}
    made["location"] = FileRef("one", "localhost", str(path)).uri
    if path.is_file():
        made |= {"size": path.stat().st_size, "checksum": "sha1$" + hashlib.sha1(path.read_bytes()).hexdigest()}
    return {**made, **more}


async def request(work: Path, file: dict[str, Any]) -> StageRequest:
    return StageRequest.of(file, await host(), store_path(str(work), file))


async def test_a_file_is_copied_and_verified_and_named(tmp_path: Path) -> None:
    source = tmp_path / "it's\na -file"
    source.write_bytes(b"\0content")
    asked = await request(tmp_path / "w", described(source))
    (entry,) = await mover().stage([asked])
    assert (entry.route, entry.bytes, entry.reused) == ("copy", 8, False)
    assert Path(asked.path).read_bytes() == b"\0content"
    assert entry.to_json()["checksum"] == asked.checksum
    (again,) = await mover().stage([asked])
    assert (again.route, again.reused) == ("in place", True)
    assert sorted(p.name for p in (tmp_path / "w" / "store").iterdir()) == [MARKER, asked.path.split("/")[-3]]


async def test_one_path_asked_twice_is_moved_once(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    asked = await request(tmp_path / "w", described(source))
    entries = await mover().stage([asked, asked])
    assert [e.reused for e in entries] == [False, True]


NOT_ARRIVED = "one (localhost) -> two (localhost): 1 of 1 file did not arrive, among them"
GONE = (
    "no longer exists\n  -> put it back, or start a run with other inputs. If Airflow's tasks run on several machines:"
    f" this machine ({socket.gethostname()}) must have the file, too"
)


async def test_a_corrupt_source_never_gets_the_name(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    asked = await request(tmp_path / "w", described(source, checksum="sha1$" + "0" * 40))
    message = (
        f"one (localhost): {asked.source} has changed: its SHA-1 is {hashlib.sha1(b'x').hexdigest()}, not {'0' * 40}\n"
        "  -> if the change is intended, clear the run's task `inputs` and all tasks after it. If Airflow's tasks run"
        f" on several machines: this machine ({socket.gethostname()}) must have the same file"
    )
    with raising(TransferError, message) as caught:
        await mover().stage([asked])
    assert not caught.value.retryable and not os.path.exists(asked.path)


async def test_what_is_there_under_a_free_name_is_compared(tmp_path: Path) -> None:
    source, target = tmp_path / "f", tmp_path / "out" / "f"
    source.write_text("new")
    target.parent.mkdir()
    target.write_text("old")
    (target.parent / MARKER).write_text(f"{MARKER_LINE}\n")
    asked = StageRequest.of(described(source), await host(), str(target))
    assert not (await mover().stage([asked]))[0].reused
    assert target.read_text() == "new"
    assert (await mover().stage([asked]))[0].reused


async def test_a_directory_is_never_put_inside_another_that_has_its_name(tmp_path: Path) -> None:
    source, target = tmp_path / "d", tmp_path / "out" / "d"
    source.mkdir()
    (source / "new").write_text("1")
    target.mkdir(parents=True)
    (target / "old").write_text("1")
    (target.parent / MARKER).write_text(f"{MARKER_LINE}\n")
    asked = StageRequest.of(described(source), await host(), str(target))
    await mover().stage([asked])
    assert [p.name for p in target.iterdir()] == ["new"]


async def test_a_file_is_not_put_inside_a_directory_that_has_its_name(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__TRANSFER_ATTEMPTS", "1")
    source, target = tmp_path / "f", tmp_path / "out" / "f"
    source.write_text("1")
    target.mkdir(parents=True)
    asked = StageRequest.of(described(source), await host(), str(target))
    with raising(TransferError, f"{NOT_ARRIVED} {asked.source}: {target}: is a directory"):
        await mover().stage([asked])
    assert not list(target.iterdir())


@pytest.mark.parametrize("kind", ["File", "Directory"])
@pytest.mark.parametrize("inside", [False, True], ids=["sent", "linked"])
async def test_what_others_have_at_the_path_is_not_replaced(
    tmp_path: Path, monkeypatch: Any, kind: str, inside: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__TRANSFER_ATTEMPTS", "1")
    source, target = tmp_path / "s", tmp_path / "out" / "s"
    for path, text in ((source, "ours"), (target, "theirs")):
        path.parent.mkdir(exist_ok=True)
        file = path / "f" if kind == "Directory" and path == source else path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    value = {"class": kind, "location": FileRef("two" if inside else "one", "localhost", str(source)).uri}
    asked = StageRequest.of(value, await host(), str(target))
    before = f"two (localhost): cannot link {asked.source} to {target}" if inside else f"{NOT_ARRIVED} {asked.source}"
    with raising(TransferError, f"{before}: {target} exists already, and airflow_hybrid did not make it: move it away"):
        await mover().stage([asked])
    assert target.read_text() == "theirs"


async def test_nothing_is_written_through_a_link_in_the_store(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__TRANSFER_ATTEMPTS", "1")
    source, victim = tmp_path / "f", tmp_path / "victim"
    source.write_text("ours")
    victim.mkdir()
    asked = await request(tmp_path / "w", described(source))
    folder = Path(asked.path).parent
    (victim / Path(asked.path).name).write_text("theirs")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(victim)
    with raising(
        TransferError, f"{NOT_ARRIVED} {asked.source}: {folder} is a symbolic link: nothing is written through it"
    ):
        await mover().stage([asked])
    assert [(p.name, p.read_text()) for p in victim.iterdir()] == [(Path(asked.path).name, "theirs")]


@pytest.mark.parametrize("kind", ["File", "Directory"])
async def test_linking_again_does_not_touch_the_source(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "s"
    if kind == "Directory":
        source.mkdir()
        (source / "f").write_text("x")
    else:
        source.write_text("x")
    target = tmp_path / "w" / "s"
    asked = StageRequest.of(described(source), await host("one"), str(target))
    for _ in range(3):
        await mover().stage([asked])
    assert target.samefile(source)
    if kind == "Directory":
        assert [p.name for p in source.iterdir()] == ["f"]


async def test_a_source_that_is_gone_or_of_another_kind_is_said(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    file = described(source)
    uri = file["location"]
    with raising(TransferError, f"one (localhost): {uri} is a file, not a directory"):
        await mover().stage([await request(tmp_path / "w", {**file, "class": "Directory"})])
    source.unlink()
    with raising(TransferError, f"one (localhost): {uri} {GONE}"):
        await mover().stage([await request(tmp_path / "w", file)])


async def test_a_good_file_arrives_although_another_is_gone(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("x")
    bad.write_text("y")
    asked = [await request(tmp_path / "w", described(p)) for p in (good, bad)]
    other = tmp_path / "elsewhere"
    asked[1] = StageRequest.of(described(bad), await host("one"), str(other))
    bad.unlink()
    with raising(TransferError, f"one (localhost): {asked[1].source} {GONE}"):
        await mover().stage(asked)
    assert os.path.exists(asked[0].path)


async def test_a_broken_stream_is_tried_again_and_only_for_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"f{n}" for n in range(5)]
    for file in files:
        file.write_text(file.name * 5000)
    sent: list[int] = []
    real = relay

    async def breaking(source: Host, send: str, to: Host, receive: str, *, bulk: bool) -> Ended:
        sent.append(receive.count("\nk "))
        if len(sent) == 1:
            send = f"({send}\n)|head -c 30000"
        return await real(source, send, to, receive, bulk=bulk)

    monkeypatch.setattr(carrier, "relay", breaking)
    monkeypatch.setattr(carrier, "PAUSE_S", 0.0)
    entries = await mover().stage([await request(tmp_path / "w", described(f)) for f in files])
    assert len(entries) == 5 and len(sent) == 2 and sent[1] < sent[0]


async def test_many_files_make_no_argument_too_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    files = []
    for n in range(1200):
        (folder / f"f{n}").write_text(str(n))
        files.append(described(folder / f"f{n}"))
    entries = await mover().stage([await request(tmp_path / "w", f) for f in files])
    assert len(entries) == 1200 and not any(e.reused for e in entries)


async def test_only_known_schemes_are_read() -> None:
    message = (
        "ftp://x/y cannot be read: No filesystem registered for scheme ftp\n"
        "  -> object stores are read by Airflow's providers (s3: apache-airflow-providers-amazon[s3fs], gs: ...-google)"
        " with the Connection that the URL names, s3://conn_id@bucket/key"
    )
    with raising(TransferError, message):
        await mover().stage([StageRequest("ftp://x/y", await host(), "/tmp/never")])


def move(sent: str, size: int = 1) -> Move:
    asked = StageRequest("hybrid://one/localhost" + sent, LocalHost("two"), "/w" + sent, size=size)
    return Move(asked, sent, size, "0" * 40)


def test_small_files_are_one_stream_and_bulk_is_cut_to_fit_a_command_line() -> None:
    assert [len(s) for s in carrier.streams([move(f"/d/{n}") for n in range(5000)])] == [5000]
    cut = carrier.streams([move(f"/d/{n}", 1 << 20) for n in range(1000)])
    assert len(cut) > 1 and sum(map(len, cut)) == 1000
    for stream in cut:
        assert len(scripts.receive("/w", "t", [m.item for m in stream], compressed=False)) < 60_000


def test_what_lies_in_a_directory_that_is_sent_goes_into_another_stream() -> None:
    made = carrier.streams([move("/a/b/c"), move("/a/b"), move("/a/bc"), move("/a/b"), move("/x")])
    assert [sorted(m.sent for m in s) for s in made] == [["/a/b", "/a/bc", "/x"], ["/a/b"], ["/a/b/c"]] or all(
        len({m.sent for m in s}) == len(s) for s in made
    )


def test_an_answer_that_breaks_off_is_no_success() -> None:
    received = scripts.parse_receive("0 ok\n1 bad -\n2 o")
    assert received.states == {0: "ok", 1: "bad -", 2: "o"} and received.exit_code is None
    with raising(ValueError, "1 of 2 answers"):
        scripts.parse_look(b"f\0000\0\0/a\0", 2)
    with raising(ValueError, "1 of 2 answers"):
        scripts.parse_exists("+\n", 2)


@pytest.mark.parametrize(
    ("code", "answer", "error", "full"),
    [
        (1, "end 2 0", "Wrote only 512 of 10240 bytes", True),
        (1, "end 2 900000", "tar: Cannot write: No space left on device", True),
        (1, "end 2 900000", "Disk quota exceeded", True),
        (1, "end 2 900000", "Unexpected EOF", False),
        (0, "end 0 0", "", False),
    ],
)
def test_a_full_disk_is_told_from_other_ends(code: int, answer: str, error: str, full: bool) -> None:
    assert Ended(141, "", code, error, answer).disk_full is full


def test_ways_follow_the_links_of_the_hybrid_file() -> None:
    one, two = LocalHost("one"), LocalHost("two")
    there = Link("one", "two", "me@two:2222", "/key")
    assert list(ways([there], one, two)) == [(Way.to("me@two:2222", "/key"), True)]
    assert list(ways([there], two, one)) == [(Way.to("me@two:2222", "/key"), False)]
    assert list(ways([Link("one", "three", "x")], one, two)) == []
    assert list(ways([Link("one", "two", "-oProxyCommand=x")], one, two)) == []
    argv = Way.to("me@two:2222", "/key").argv
    assert (
        argv[-2:] == ("--", "me@two") and "StrictHostKeyChecking=yes" in argv and argv[argv.index("-p") + 1] == "2222"
    )
