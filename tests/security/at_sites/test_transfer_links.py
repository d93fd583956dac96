# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Links in what jobs made are not followed when it is sent elsewhere, or read for an expression."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.remote_values import list_folder, read_start
from airflow_hybrid.errors import SiteError, TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.files.link_script import link_files
from airflow_hybrid.sites.files.mover import DataMover, StageRequest, store_path
from tests.unit.sites.shell_hosts import SHELLS, ShellHost

SECRET = b"s3cr3t"
MOST_TURNS = 40
DEPLOYMENTS = {"one": Deployment("one", "local"), "two": Deployment("two", "local")}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_bytes(SECRET)
    (tmp_path / "home").symlink_to(tmp_path)
    folder = tmp_path / "home/dag/run/task/g0-0a/a1-0f/00000/out"
    folder.mkdir(parents=True)
    return folder


def uri(path: Path) -> str:
    return FileRef("one", "localhost", str(path)).uri


async def sent(path: Path, target: Path, kind: str = "File", **more: Any) -> Path:
    file = {"class": kind, "basename": path.name, "location": uri(path), **more}
    (host,) = await open_connector(DEPLOYMENTS, "two").hosts()
    request = StageRequest.of(file, host, store_path(str(target), file))
    await DataMover(Locations(DEPLOYMENTS)).stage([request])
    return Path(request.path)


def everything_in(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


async def test_what_a_job_made_is_sent_without_its_links(out: Path, tmp_path: Path) -> None:
    (out / "d/sub").mkdir(parents=True)
    (out / "d/sub/f").write_bytes(b"plain")
    (out / "d/link").symlink_to(tmp_path / "outside/f")
    (out / "d/folder").symlink_to(tmp_path / "outside")
    arrived = await sent(out / "d", tmp_path / "two", "Directory")
    assert sorted(str(path.relative_to(arrived)) for path in arrived.rglob("*")) == ["sub", "sub/f"]
    assert (arrived / "sub/f").read_bytes() == b"plain"


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("link", "File", {}),
        ("folder/f", "File", {}),
        ("folder", "Directory", {}),
        ("f\nx", "File", {}),
        ("link", "File", {"size": 6, "checksum": "sha1$" + hashlib.sha1(SECRET).hexdigest()}),
    ],
)
async def test_a_link_in_the_place_of_an_output_is_refused(
    out: Path, tmp_path: Path, name: str, kind: str, more: dict[str, Any]
) -> None:
    (out / "link").symlink_to(tmp_path / "outside/f")
    (out / "folder").symlink_to(tmp_path / "outside")
    (out / "f\nx").symlink_to(tmp_path / "outside/f")
    with pytest.raises(TransferError) as error:
        await sent(out / name, tmp_path / "two", kind, **more)
    assert str(error.value) == (
        f"one (localhost): {uri(out / name)} is not sent: a symbolic link has replaced it or a folder above it"
    )
    assert not error.value.retryable and SECRET not in everything_in(tmp_path / "two")


async def test_links_of_what_a_user_named_are_followed(tmp_path: Path) -> None:
    (tmp_path / "data/d").mkdir(parents=True)
    (tmp_path / "data/f").write_bytes(b"mine")
    (tmp_path / "data/d/link").symlink_to("../f")
    arrived = await sent(tmp_path / "data/d", tmp_path / "two", "Directory")
    assert (arrived / "link").read_bytes() == b"mine"


async def test_what_jobs_made_and_what_users_named_go_in_streams_of_their_own(out: Path, tmp_path: Path) -> None:
    (out / "a").write_bytes(b"made")
    (tmp_path / "b").symlink_to("c")
    (tmp_path / "c").write_bytes(b"named")
    (host,) = await open_connector(DEPLOYMENTS, "two").hosts()
    requests = [
        StageRequest(uri(path), host, f"{tmp_path}/two/{path.name}")
        for path in (out / "a", tmp_path / "b", tmp_path / "c")
    ]
    await DataMover(Locations(DEPLOYMENTS)).stage(requests)
    assert sorted(everything_in(tmp_path / "two")) == [b"made", b"named", b"named"]
    with pytest.raises(ValueError, match="symbolic links are followed in only some of these paths"):
        scripts.send([str(out / "a"), str(tmp_path / "c")], compress=False)


@pytest.mark.parametrize("shell", SHELLS)
async def test_sizes_and_digests_are_those_of_the_files_themselves(out: Path, shell: str) -> None:
    (out / "f\n\n").write_bytes(b"12345")
    (out / "d").mkdir()
    (out / "d/f").write_bytes(b"123")
    command = scripts.look(
        [(str(out / "f\n\n"), True), (str(out / "d"), True), (str(out / "no"), True), (str(out), False)]
    )
    answer = await ShellHost(shell).run(command)
    sights = scripts.parse_look(answer.stdout, 4)
    assert [(sight.kind, sight.size) for sight in sights] == [("f", 5), ("d", 3), ("-", 0), ("d", 0)]
    assert sights[0].digest == hashlib.sha1(b"12345").hexdigest() and len(sights[1].digest or "") == 40
    assert answer.err == ""


async def test_expressions_see_no_link_of_a_job(out: Path, tmp_path: Path) -> None:
    (out / "f").write_bytes(b"plain")
    (out / "link").symlink_to(tmp_path / "outside/f")
    (out / "folder").symlink_to(tmp_path / "outside")
    (out / "d").mkdir()
    os.mkfifo(out / "fifo")
    assert await read_start(uri(out / "f"), DEPLOYMENTS) == b"plain"
    assert await list_folder(uri(out), DEPLOYMENTS) == [("d", True), ("f", False), ("fifo", False)]
    for name, said in (
        ("link", "is not read: a symbolic link has replaced it"),
        ("folder/f", "is not read: a symbolic link has replaced it"),
        ("fifo", "cannot be read: it does not exist, or is not a regular file"),
    ):
        with pytest.raises(TransferError) as error:
            await read_start(uri(out / name), DEPLOYMENTS)
        assert str(error.value) == f"one (localhost): {out}/{name} {said}"
    with pytest.raises(SiteError) as refused:
        await list_folder(uri(out / "folder"), DEPLOYMENTS)
    assert str(refused.value) == (
        f"one (localhost): listing of an input: cannot list '{out}/folder' (exit code 1)\n"
        "| a symbolic link has replaced it or a folder above it"
    )


@contextmanager
def swapping(out: Path) -> Iterator[None]:
    """In this block, `a` is a folder and the link `b` by turns."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.wait(0.001):
            os.rename(out / "a", out / "c")
            os.rename(out / "b", out / "a")
            stop.wait(0.001)
            os.rename(out / "a", out / "b")
            os.rename(out / "c", out / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_a_process_that_swaps_while_it_is_sent_sends_nothing_else(out: Path, tmp_path: Path) -> None:
    (out / "a").mkdir()
    (out / "a/f").write_bytes(b"plain!")
    (out / "b").symlink_to(tmp_path / "outside")
    with swapping(out):
        for attempt in range(5):
            for name, kind in (("a/f", "File"), ("a", "Directory")):
                try:
                    await sent(out / name, tmp_path / f"two{attempt}{kind}", kind)
                except TransferError as error:
                    assert not re.search(SECRET.decode(), str(error))
                assert SECRET not in everything_in(tmp_path / f"two{attempt}{kind}")


async def linked(path: Path, target: Path, kind: str = "File", **more: Any) -> Path:
    """The same within one location, where nothing is copied."""
    file = {"class": kind, "basename": path.name, "location": uri(path), **more}
    (host,) = await open_connector(DEPLOYMENTS, "one").hosts()
    request = StageRequest.of(file, host, str(target))
    await DataMover(Locations(DEPLOYMENTS)).stage([request])
    return Path(request.path)


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("link", "File", {}),
        ("folder/f", "File", {}),
        ("folder", "Directory", {}),
        ("f\nx", "File", {}),
        ("link", "File", {"size": 6, "checksum": "sha1$" + hashlib.sha1(SECRET).hexdigest()}),
    ],
)
async def test_a_link_in_the_place_of_an_output_is_no_input_at_its_own_location(
    out: Path, tmp_path: Path, name: str, kind: str, more: dict[str, Any]
) -> None:
    (out / "link").symlink_to(tmp_path / "outside/f")
    (out / "folder").symlink_to(tmp_path / "outside")
    (out / "f\nx").symlink_to(tmp_path / "outside/f")
    with pytest.raises(TransferError) as error:
        await linked(out / name, tmp_path / "next/f", kind, **more)
    assert str(error.value).split("\n")[0] == (
        f"one (localhost): {uri(out / name)} is not used: a symbolic link has replaced it or a folder above it"
    )
    assert not error.value.retryable and not (tmp_path / "next").exists()


async def test_what_a_job_made_below_a_linked_work_directory_is_linked(out: Path, tmp_path: Path) -> None:
    (out / "sub").mkdir()
    for name in ("f", "sub/-f", "sub/f\nx"):
        (out / name).write_bytes(b"plain")
        arrived = await linked(out / name, tmp_path / "next" / name)
        assert os.path.samefile(arrived, out / name) and not arrived.is_symlink()
    arrived = await linked(out / "sub", tmp_path / "next/d", "Directory")
    assert os.path.samefile(arrived, out / "sub")


@pytest.mark.parametrize("shell", SHELLS)
async def test_links_are_made_in_the_folder_that_was_meant(out: Path, tmp_path: Path, shell: str) -> None:
    (out / "link").symlink_to(tmp_path / "outside/f")
    (out / "folder").symlink_to(tmp_path / "outside")
    (out / "f").write_bytes(b"plain")
    pairs = [(str(out / name), f"{tmp_path}/next/{i}") for i, name in enumerate(("link", "folder/f", "folder", "f"))]
    pairs.append((str(tmp_path / "outside/f"), f"{tmp_path}/next/named"))
    answer = await ShellHost(shell).run(link_files(pairs, "t"))
    assert (answer.out.split(), answer.err) == (["link", "link", "link", "ok", "ok"], "")
    assert sorted(path.name for path in (tmp_path / "next").iterdir()) == ["3", "named"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "swapped"), [("f", "f"), ("folder", "folder"), ("folder/f", "folder")])
async def test_a_link_that_comes_while_a_link_is_made_is_not_taken_over(
    out: Path, tmp_path: Path, shell: str, name: str, swapped: str
) -> None:
    """Hard links cannot be made there, and while that is tried a process of the job puts a link in the place."""
    (out / "folder").mkdir()
    for path in (out / "f", out / "folder/f"):
        path.write_bytes(b"plain!")
    planted = tmp_path / "outside" / ("f" if swapped == "f" else "")
    fake = tmp_path / "bin/ln"
    fake.parent.mkdir()
    at = shlex.quote(str(out / swapped))
    fake.write_text(
        f"""#!/bin/sh
if [ ! -h {at} ]; then mv {at} {at}.old && /bin/ln -s {shlex.quote(str(planted))} {at}; fi
case $1 in -s*) exec /bin/ln "$@" ;; esac
exit 1
"""
    )
    fake.chmod(0o755)
    host = ShellHost(shell, {"PATH": f"{fake.parent}:{os.environ['PATH']}"})
    answer = await host.run(link_files([(str(out / name), f"{tmp_path}/next/0")], "t"))
    assert (answer.out, answer.err) == ("link\n", "")
    assert list((tmp_path / "next").iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
async def test_where_hard_links_cannot_be_made_others_are(out: Path, tmp_path: Path, shell: str) -> None:
    (out / "f").write_bytes(b"plain!")
    fake = tmp_path / "bin/ln"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\ncase $1 in -s*) exec /bin/ln "$@" ;; esac\nexit 1\n')
    fake.chmod(0o755)
    host = ShellHost(shell, {"PATH": f"{fake.parent}:{os.environ['PATH']}"})
    answer = await host.run(link_files([(str(out / "f"), f"{tmp_path}/next/0")], "t"))
    assert (answer.out, answer.err) == ("ok\n", "")
    assert os.readlink(tmp_path / "next/0") == str(out / "f")


async def test_what_a_process_swaps_while_it_is_linked_leads_nowhere_else(out: Path, tmp_path: Path) -> None:
    (out / "a").mkdir()
    (out / "a/f").write_bytes(b"plain!")
    (out / "b").symlink_to(tmp_path / "outside")
    (host,) = await open_connector(DEPLOYMENTS, "one").hosts()
    answers: set[str] = set()
    with swapping(out):
        # on a busy machine the two may take turns in a way that shows one side of the link only
        for turn in range(MOST_TURNS):
            pairs = [(str(out / "a/f"), f"{tmp_path}/next/{turn}.{number}") for number in range(300)]
            answers.update((await host.run(link_files(pairs, "t"))).out.split())
            if {"ok", "link"} <= answers:
                break
    assert {"ok", "link"} <= answers <= {"ok", "link", "gone"}
    assert SECRET not in everything_in(tmp_path / "next")
