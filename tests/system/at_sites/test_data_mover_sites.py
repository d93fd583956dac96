# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""DataMover between real sites: routes, cuts, full disks, kills, changed and vanished files."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import posixpath
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import HostUnreachableError, SiteError, TransferError
from airflow_hybrid.model import FileRef, LineageEntry
from airflow_hybrid.sites import connectors
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover, StageRequest, store_path
from airflow_hybrid.sites.hosts.base import Host, answers_up_to
from airflow_hybrid.sites.patience.outages import Patience
from tests.system import sites

pytestmark = [pytest.mark.testbed]
log = logging.getLogger(__name__)
MIB = 1 << 20


class World:
    """Sites hpc, cloud and edge, and this machine, as deployments; a scratch folder on each."""

    def __init__(self, local: str) -> None:
        described = sites.need("hpc", "cloud", "edge")
        self.folder = f"/tmp/mover-{time.time_ns()}"
        self.deployments = {
            name: Deployment(name, "ssh", {"nodes": [{"hostname": site["host"], "username": site["user"],
                             "sshKey": site["key"], "knownHosts": described["known_hosts"]}],
                             "connectTimeout": 3}, f"{self.folder}/work")
            for name, site in described["sites"].items()
        }  # fmt: skip
        self.deployments["here"] = Deployment("here", "local", {}, local)

    async def host(self, name: str) -> Host:
        return (await connectors.open_connector(self.deployments, name).hosts())[0]

    async def sh(self, name: str, script: str) -> str:
        script = f"mkdir -p {self.folder}&&cd {self.folder}&&{{ {script}\n}}"
        return (await (await self.host(name)).run(script, label=script)).check("test set-up").out

    async def file(self, name: str, path: str, content: bytes, **changes: Any) -> dict[str, Any]:
        where = posixpath.join(self.folder, path)
        text = f"mkdir -p {shlex.quote(posixpath.dirname(where))}&&cat > {shlex.quote(where)}"
        (await (await self.host(name)).run(text, stdin=content)).check("test set-up")
        digest = hashlib.sha1(content).hexdigest()
        return {**await self.at(name, where), "size": len(content), "checksum": f"sha1${digest}", **changes}

    async def at(self, name: str, path: str, kind: str = "File") -> dict[str, Any]:
        host = await self.host(name)
        uri = FileRef(host.deployment, host.location, path).uri
        return {"class": kind, "location": uri, "basename": posixpath.basename(path)}

    async def stage(self, files: list[dict[str, Any]], to: str, links: Any = ()) -> list[LineageEntry]:
        host = await self.host(to)
        workdir = str(self.deployments[to].workdir)
        mover = DataMover(Locations(self.deployments, Link.all_from_json(links)))
        return await mover.stage([StageRequest.of(file, host, store_path(workdir, file)) for file in files])

    def copy(self, file: dict[str, Any], to: str) -> str:
        return store_path(str(self.deployments[to].workdir), file)

    async def read(self, file: dict[str, Any], to: str) -> bytes:
        host = await self.host(to)
        with answers_up_to(64 * MIB):
            answer = await host.run(f"cat {shlex.quote(self.copy(file, to))}")
        return answer.check("no copy").stdout

    async def leftovers(self, to: str) -> str:
        return await self.sh(to, f"find {shlex.quote(str(self.deployments[to].workdir))} -name '.[in]*' || :")


@pytest.fixture
async def world(tmp_path: Any) -> AsyncIterator[World]:
    made = World(str(tmp_path / "here"))
    yield made
    for name in ("hpc", "cloud", "edge"):
        await made.sh(name, f"rm -rf {made.folder}")
    await close_all()


async def test_a_file_is_relayed_once_and_found_again(world: World) -> None:
    file = await world.file("hpc", "a.txt", b"content\n")
    first, second = (await world.stage([file], "cloud"))[0], (await world.stage([file], "cloud"))[0]
    assert (first.route, first.reused, first.bytes, first.checksum) == ("relay", False, 8, file["checksum"])
    assert first.source == file["location"] and FileRef.parse(first.destination).path == world.copy(file, "cloud")
    assert (second.route, second.reused) == ("in place", True)
    assert await world.read(file, "cloud") == b"content\n"
    assert await world.leftovers("cloud") == ""


async def test_bulk_goes_by_openssh_and_its_speed_is_remembered(world: World) -> None:
    file = await world.file("hpc", "big", bytes(range(256)) * (32 * MIB // 256))
    entry = (await world.stage([file], "cloud"))[0]
    assert (entry.route, entry.bytes) == ("relay", 32 * MIB)
    assert hashlib.sha1(await world.read(file, "cloud")).hexdigest() == file["checksum"][5:]
    assert (DataMover.bytes_per_s("hpc", "cloud") or 0) > 0


@pytest.mark.parametrize("to", ["cloud", "here"])
async def test_any_name_travels(world: World, to: str) -> None:
    names = [
        "-rf",
        "it's",
        'say "hi"',
        "new\nline",
        "tab\tspace ",
        "back\\slash",
        "$HOME `x` *",
        "é",
        "a;b&c|d",
        "%41?#",
    ]
    files = [await world.file("hpc", f"in/{n}", f"{n}!".encode()) for n in names]
    folder = await world.at("hpc", f"{world.folder}/in", "Directory")
    await world.stage([*files, folder], to)
    for name, file in zip(names, files, strict=True):
        assert await world.read(file, to) == f"{name}!".encode()
    listed = await world.sh(to, f"ls -1b {shlex.quote(world.copy(folder, to))}|wc -l")
    assert int(listed) == len(names)


async def test_many_small_files_are_one_stream(world: World) -> None:
    await world.sh("hpc", "mkdir many;i=0;while [ $i -lt 2000 ];do echo file $i >many/f$i;i=$((i+1));done")
    sums = (await world.sh("hpc", "cd many;sha1sum *")).split()
    files = [
        {**await world.at("hpc", f"{world.folder}/many/{name}"), "checksum": f"sha1${digest}", "size": 10}
        for digest, name in zip(sums[::2], sums[1::2], strict=True)
    ]
    before = sites.inside("cloud", "grep -c 'Starting session' /var/log/sshd.log || :")
    entries = await world.stage(files, "cloud")
    assert {(e.route, e.reused) for e in entries} == {("relay", False)}
    assert int(sites.inside("cloud", "grep -c 'Starting session' /var/log/sshd.log||:")) - int(before or 0) < 10
    assert int(await world.sh("cloud", "find work -type f ! -name .airflow_hybrid|wc -l")) == 2000
    assert {e.route for e in await world.stage(files, "here")} == {"relay"}


async def test_a_directory_is_verified_as_a_tree(world: World) -> None:
    await world.sh(
        "hpc",
        "mkdir -p t/sub/empty;echo 1 >t/one;echo 2 >t/sub/two;ln -s ../one t/sub/link;chmod +x t/one;chmod 555 t/sub",
    )
    folder = await world.at("hpc", f"{world.folder}/t", "Directory")
    first = (await world.stage([folder], "cloud"))[0]
    assert (first.route, first.bytes, first.reused) == ("relay", 6, False)
    copy = shlex.quote(world.copy(folder, "cloud"))
    assert await world.sh("cloud", f"cd {copy};find . -type d|sort;cat one sub/two sub/link;[ -x one ]&&echo x") == (
        ".\n./sub\n./sub/empty\n1\n2\n1\nx\n"
    )
    assert (await world.stage([folder], "cloud"))[0].reused
    await world.sh("hpc", "echo changed >t/one")
    assert not (await world.stage([folder], "cloud"))[0].reused
    assert await world.sh("cloud", f"cat {copy}/one") == "changed\n"
    await world.sh("hpc", "chmod 755 t/sub")


async def test_a_link_that_leads_in_a_circle_is_refused(world: World) -> None:
    await world.sh("hpc", "mkdir loop;ln -s . loop/again")
    with pytest.raises(TransferError, match=r"cannot be read.*loop"):
        await world.stage([await world.at("hpc", f"{world.folder}/loop", "Directory")], "cloud")


async def test_inside_a_location_files_are_linked_and_sources_are_left_alone(world: World) -> None:
    file = await world.file("hpc", "d/f", b"x")
    folder = await world.at("hpc", f"{world.folder}/d", "Directory")
    for _ in range(3):
        entries = await world.stage([file, folder], "hpc")
    assert await world.sh("hpc", "ls -A d") == "f\n"
    assert await world.read(file, "hpc") == b"x"
    assert {e.route for e in entries} <= {"link", "in place"}


async def test_linked_sites_send_directly_either_way(world: World) -> None:
    to_edge = [{"source": "hpc", "target": "edge", "address": "edge"}]
    for size, name in ((10, "small"), (8 * MIB, "large")):
        file = await world.file("hpc", name, b"d" * size)
        assert (await world.stage([file], "edge", to_edge))[0].route == "direct"
        assert len(await world.read(file, "edge")) == size
        back = await world.file("edge", name + "b", b"b" * size)
        assert (await world.stage([back], "hpc", to_edge))[0].route == "direct"
    assert await world.leftovers("edge") == "" and await world.leftovers("hpc") == ""


async def test_a_limit_per_minute_counts_every_session_that_a_site_sees(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR", str(tmp_path / "logins"))
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__SSH_COMMANDS_PER_MINUTE", "100000")

    def sessions() -> int:
        count = "grep -c 'Starting session' /var/log/sshd.log || :"
        return sum(int(sites.inside(name, count) or 0) for name in ("hpc", "cloud", "edge"))

    before = sessions()
    to_edge = [{"source": "hpc", "target": "edge", "address": "edge"}]
    for size in (10, 8 * MIB):
        file = await world.file("hpc", f"f{size}", b"d" * size)
        assert (await world.stage([file], "cloud"))[0].route == "relay"
        assert (await world.stage([file], "edge", to_edge))[0].route == "direct"
        back = await world.file("edge", f"b{size}", b"b" * size)
        assert (await world.stage([back], "hpc", to_edge))[0].route == "direct"
    turns = sum(path.stat().st_size // 8 for path in tmp_path.glob("logins/*/pace/*"))
    assert turns == sessions() - before


@pytest.mark.parametrize("address", ["cloud", "nowhere", "hpc"])
async def test_a_link_that_does_not_lead_there_is_not_used(world: World, address: str) -> None:
    # "hpc" is reachable, and is another site than the destination: data must not end up there
    file = await world.file("edge", "f", b"x" * 100)
    entry = (await world.stage([file], "cloud", [{"source": "edge", "target": "cloud", "address": address}]))[0]
    assert entry.route == ("direct" if address == "cloud" else "relay")
    assert await world.read(file, "cloud") == b"x" * 100


async def test_a_file_that_changed_after_it_was_produced_is_never_named(world: World) -> None:
    file = await world.file("hpc", "f", b"as produced")
    await world.sh("hpc", "echo changed >f")
    with pytest.raises(TransferError, match="/f has changed: its SHA-1 is [0-9a-f]{40}, not [0-9a-f]{40}"):
        await world.stage([file], "cloud")
    assert await world.sh("cloud", f"[ ! -e {world.copy(file, 'cloud')} ]&&echo none") == "none\n"
    assert await world.leftovers("cloud") == ""


async def test_a_source_that_vanished_names_its_producer(world: World) -> None:
    path = "work/my_dag/run1/align/3/g0-0123456789/a1-0123456789/00002/out/x.bam"
    file = await world.file("hpc", path, b"x")
    await world.sh("hpc", f"rm {path}")
    with pytest.raises(
        TransferError, match=r"(?s)no longer exists.*task align\[3\] of run run1 of DAG my_dag"
    ) as caught:
        await world.stage([file], "cloud")
    assert not caught.value.retryable


async def test_a_full_disk_is_named_and_nothing_is_left(world: World) -> None:
    size = 300 * MIB
    await world.sh("hpc", f"truncate -s {size} huge")
    big = {**await world.at("hpc", f"{world.folder}/huge"), "size": size}
    host = await world.host("cloud")
    request = StageRequest.of(big, host, "/scratch/full/store/aa/aaaa/huge")
    before = (await host.run("df --output=used /scratch|tail -1")).out
    with pytest.raises(TransferError, match=f"disk is full at cloud .*: {size:,} bytes did not fit"):
        await DataMover(Locations(world.deployments)).stage([request])
    left = "find /scratch/full -type f ! -name .airflow_hybrid; df --output=used /scratch|tail -1"
    (used,) = (await host.run(left)).out.split()
    assert int(used) - int(before) < 100, "KiB: the mark of our folder, and nothing of the file"
    await host.run("rm -rf /scratch/full")


async def test_a_cut_in_the_middle_is_survived(world: World) -> None:
    file = await world.file("hpc", "big", b"z" * (150 * MIB))
    moving = asyncio.ensure_future(world.stage([file], "cloud"))
    await asyncio.sleep(0.6)
    await asyncio.to_thread(sites.end_sessions, "cloud", "tar")
    entry = (await moving)[0]
    assert entry.route == "relay"
    assert int(await world.sh("cloud", f"wc -c <{world.copy(file, 'cloud')}")) == 150 * MIB
    assert await world.leftovers("cloud") == ""


@pytest.mark.long
async def test_a_network_that_is_away_for_some_seconds_costs_only_these(world: World) -> None:
    files = [await world.file("hpc", "big", b"z" * (100 * MIB)), await world.file("hpc", "small", b"s")]
    moving = asyncio.ensure_future(asyncio.gather(*(world.stage([file], "cloud") for file in files)))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(sites.control, "cut", "cloud")
    try:
        await asyncio.sleep(4)
        assert not moving.done()
    finally:
        await asyncio.to_thread(sites.control, "heal", "cloud")
    big, small = await moving
    assert (big[0].route, small[0].route) == ("relay", "relay")
    assert await world.leftovers("cloud") == ""


async def test_a_host_that_stays_away_is_unreachable_and_leaves_no_half_file(world: World) -> None:
    file = await world.file("hpc", "f", b"z" * MIB)
    await world.sh("cloud", ":")
    await asyncio.to_thread(sites.inside, "cloud", "kill $(cat /run/sshd.pid)")
    await asyncio.to_thread(sites.end_sessions, "cloud")
    try:
        with pytest.raises(HostUnreachableError):
            await world.stage([file], "cloud")
    finally:
        await asyncio.to_thread(sites.inside, "cloud", sites.START_SSHD)
    # the host is tried again after a pause
    entries = await Patience(log, at_first=True).through(lambda: world.stage([file], "cloud"), "cloud")
    assert entries[0].route == "relay"


async def test_a_cancelled_transfer_ends_its_processes_and_leaves_nothing(world: World) -> None:
    file = await world.file("hpc", "big", b"z" * (150 * MIB))
    moving = asyncio.ensure_future(world.stage([file], "cloud"))
    await asyncio.sleep(0.5)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    for _ in range(50):
        await asyncio.sleep(0.1)
        if not await world.leftovers("cloud"):
            break
    assert await world.leftovers("cloud") == ""
    assert (await world.stage([file], "cloud"))[0].bytes == 150 * MIB


async def test_those_who_want_the_same_file_wait_for_the_first(world: World) -> None:
    file = await world.file("hpc", "big", b"q" * (8 * MIB))
    results = await asyncio.gather(*(world.stage([file], "cloud") for _ in range(6)))
    assert sorted(entries[0].reused for entries in results) == [False] + [True] * 5


async def test_two_processes_that_bring_the_same_file_do_no_harm(world: World) -> None:
    file = await world.file("hpc", "big", b"q" * (8 * MIB))
    folder = await world.at("hpc", f"{world.folder}/tree", "Directory")
    await world.sh("hpc", "mkdir -p tree/a;echo 1 >tree/a/b")

    async def other() -> None:
        await world.stage([file, folder], "cloud")
        await close_all()

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, other()) for _ in range(4)))
    assert len(await world.read(file, "cloud")) == 8 * MIB
    assert await world.sh("cloud", f"cd {world.copy(folder, 'cloud')};find . |sort") == ".\n./a\n./a/b\n"
    assert await world.leftovers("cloud") == ""


async def test_a_site_without_zstd_and_perl_still_gets_its_files(world: World) -> None:
    files = [await world.file("hpc", f"n/{i}", str(i).encode() * 3000) for i in range(60)]
    sites.inside("cloud", "mv /usr/bin/zstd /usr/bin/zstd.away;mv /usr/bin/perl /usr/bin/perl.away")
    try:
        assert {e.route for e in await world.stage(files, "cloud")} == {"relay"}
    finally:
        sites.inside("cloud", "mv /usr/bin/zstd.away /usr/bin/zstd;mv /usr/bin/perl.away /usr/bin/perl")
    assert await world.read(files[7], "cloud") == b"7" * 3000


async def test_the_web_is_reached_through_this_machine_by_sites_that_cannot(world: World, tmp_path: Any) -> None:
    import functools
    import http.server
    import threading

    (tmp_path / "page").write_bytes(b"from the web")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = {"class": "File", "location": f"http://127.0.0.1:{server.server_port}/page", "basename": "page"}
        entry = (await world.stage([page], "cloud"))[0]
        assert (entry.route, entry.bytes) == ("relay", 12)
        assert await world.read(page, "cloud") == b"from the web"
        assert (await world.stage([page], "here"))[0].route == "fetch"
        assert (await world.stage([page], "here"))[0].route == "in place"
        with pytest.raises(TransferError, match="cannot be fetched.*404"):
            await world.stage([{**page, "location": page["location"] + "x"}], "here")
        with pytest.raises(TransferError, match="the content of .* differs"):
            await world.stage([{**page, "checksum": "sha1$" + "0" * 40}], "cloud")
    finally:
        server.shutdown()


async def test_a_read_only_destination_is_an_error_in_its_own_words(world: World) -> None:
    file = await world.file("hpc", "f", b"x")
    with pytest.raises(SiteError, match=r"(?i)permission denied"):
        asked = StageRequest.of(file, await world.host("cloud"), "/usr/nope/f")
        await DataMover(Locations(world.deployments)).stage([asked])
