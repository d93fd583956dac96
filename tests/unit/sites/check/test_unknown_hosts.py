# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What `airflow hybrid check` says about a host that is not trusted, and about deployments that wrap one that fails."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airflow_hybrid.cli.commands import table
from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.sites import check
from airflow_hybrid.sites.closing import close_all

KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER = asyncssh.generate_private_key("ssh-ed25519")
ECDSA = asyncssh.generate_private_key("ecdsa-sha2-nistp256")


def public(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A real SSH server, which refuses everybody."""
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[KEY])
    yield server.get_port()
    await close_all()
    server.close()
    await server.wait_closed()


def site(tmp_path: Path, port: int, **config: Any) -> Deployment:
    known = tmp_path / "known_hosts"
    known.touch()
    node = {"hostname": f"127.0.0.1:{port}", "username": "ann", "password_file": str(tmp_path / "password")}
    (tmp_path / "password").write_text("wrong")
    return Deployment("login", "ssh", {"nodes": [node], "known_hosts": [str(known)], **config})


async def the_key_of(deployment: Deployment) -> check.Finding:
    (finding,) = [f for f in await check.check({"login": deployment}) if f.what == "host key"]
    assert finding.result == "FAIL"
    return finding


async def test_an_unknown_host_is_shown_with_its_fingerprint_and_the_line_for_the_hybrid_file(
    tmp_path: Path, port: int
) -> None:
    finding = await the_key_of(site(tmp_path, port))
    assert finding.hint.splitlines() == [
        f"127.0.0.1 shows the key ssh-ed25519 {KEY.get_fingerprint()}",
        "a check cannot know whether that is the right key: compare the fingerprint with the one that you have from the"
        " administrator of the host, or from the site's web page",
        f"if it is the right one, add it to the host in the hybrid file: host_key: {public(KEY)}",
        f"or to ~/.ssh/known_hosts: [127.0.0.1]:{port} {public(KEY)}",
    ]


@pytest.mark.parametrize("form", ["known_hosts", "host_key"])
@pytest.mark.parametrize("other", [OTHER, ECDSA], ids=["same type", "other type"])
async def test_a_host_with_another_key_than_the_trusted_one_is_a_warning(
    tmp_path: Path, port: int, form: str, other: asyncssh.SSHKey
) -> None:
    deployment = site(tmp_path, port, **({"host_key": public(other)} if form == "host_key" else {}))
    if form == "known_hosts":
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {public(other)}\n")
    finding = await the_key_of(deployment)
    shown, trusted, line = finding.hint.splitlines()[:3]
    assert shown == f"127.0.0.1 shows the key ssh-ed25519 {KEY.get_fingerprint()}"
    assert trusted == (
        f"trusted is another one: {other.get_algorithm()} {other.get_fingerprint()}. Somebody may be intercepting the"
        " connection: ask the administrator of the host whether its key was changed before you trust the new one"
    )
    assert line == f"if it is the right one, add it to the host in the hybrid file: host_key: {public(KEY)}"


async def test_the_line_for_a_connection_is_one_of_its_extras(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MY_CLUSTER", f'{{"conn_type": "ssh", "host": "127.0.0.1", "port": {port}}}')
    known = tmp_path / "known"
    known.touch()
    deployment = Deployment("login", "ssh", {"conn_id": "my_cluster", "known_hosts": [str(known)]})
    finding = await the_key_of(deployment)
    assert finding.hint.splitlines()[-1] == (
        "if it is the right one, add it to the extras of the Airflow Connection 'my_cluster':"
        f' "host_key": "{public(KEY)}"'
    )


async def test_the_line_that_check_shows_is_taken(tmp_path: Path, port: int) -> None:
    finding = await the_key_of(site(tmp_path, port))
    line = finding.hint.splitlines()[-1].split(": ", 1)[1]
    (tmp_path / "known_hosts").write_text(f"{line}\n")
    await close_all()  # a refusal is remembered for a while
    by_file = await check.check({"login": site(tmp_path, port)})
    by_key = await check.check({"login": site(tmp_path, port, host_key=line.split(" ", 1)[1])})
    # from here on it is the login that the server refuses
    assert [f.what for f in [*by_file, *by_key] if f.result == "FAIL"] == ["login", "login"]


async def test_the_key_of_a_jump_host_is_that_of_the_jump_host(tmp_path: Path, port: int) -> None:
    behind = {"nodes": [{"hostname": "inner.example", "username": "ann", "tunnel": {"hostname": f"127.0.0.1:{port}"}}]}
    finding = await the_key_of(site(tmp_path, port, **behind))
    assert finding.hint.splitlines()[0] == f"127.0.0.1 shows the key ssh-ed25519 {KEY.get_fingerprint()}"


@pytest.fixture
def gone(tmp_path: Path) -> dict[str, Deployment]:
    """Four deployments on a host where nobody listens, and one that is fine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "login": site(tmp_path, port),
        "cluster": Deployment("cluster", "slurm", wraps="login"),
        "boxes": Deployment("boxes", "docker", {"image": "debian"}, wraps="login", managed=True),
        "image": Deployment("image", "apptainer", {"image": "docker://debian"}, wraps="cluster"),
        "fine": Deployment("fine", "local", workdir=str(tmp_path / "work")),
    }


async def test_a_failure_is_told_once_and_what_wraps_the_deployment_names_it(gone: dict[str, Deployment]) -> None:
    findings = await check.check(gone, (Link("fine", "login"), Link("cluster", "fine")))
    assert [(f.where, f.what) for f in findings if f.result == "FAIL"] == [("login", "reach")]
    skipped = [(f.where, f.what, f.detail) for f in findings if f.result == "skip"]
    because = "not tried: it needs `login`, which failed"
    assert skipped == [
        ("login", "the rest", "nothing else can be tested there"),
        ("cluster", "all", because),
        ("boxes", "all", because),
        ("image", "all", because),
        ("fine -> login", "link", because),
        ("cluster -> fine", "link", because),
    ]
    assert list(table(findings))[-1] == f"{len(findings)} checks, 1 failed"


async def test_the_deployment_that_failed_is_told_though_only_another_was_asked_for(
    gone: dict[str, Deployment],
) -> None:
    findings = await check.check(gone, names=["image"])
    assert [(f.where, f.what, f.result) for f in findings] == [
        ("login", "reach", "FAIL"),
        ("login", "the rest", "skip"),
        ("image", "all", "skip"),
    ]


async def test_what_works_inside_a_deployment_of_each_run_is_not_tried(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {}\n")
    deployments = {
        "stack": Deployment("stack", "docker-compose", {"files": [str(tmp_path / "compose.yml")]}, managed=True),
        "queue": Deployment("queue", "slurm", wraps="stack"),
    }
    findings = await check.check(deployments, names=["queue"])
    assert [(f.where, f.what, f.result, f.detail) for f in findings] == [
        ("queue", "all", "skip", "not tried: it needs `stack`, which is deployed for each run")
    ]


async def test_a_failure_that_is_the_same_for_two_deployments_of_a_host_is_told_at_the_wrapped_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    deployments = {
        "outer": Deployment("outer", "local", workdir=f"{tmp_path}/file/below"),
        "image": Deployment("image", "apptainer", {"image": "docker://debian"}, wraps="outer"),
    }
    findings = {(f.where, f.what): f for f in await check.check(deployments)}
    assert findings["outer", "workdir"].result == "FAIL"
    same = findings["image", "workdir"]
    assert (same.result, same.detail, same.hint) == ("skip", "fails as that of `outer`, which it needs", "")


def test_a_hint_of_several_lines_stays_below_its_finding() -> None:
    finding = check.Finding("a", "b", "host key", "FAIL", "no", 0.0, "one\ntwo")
    lines = list(table([finding]))
    assert [line.strip() for line in lines[2:4]] == ["-> one", "two"]
    assert lines[2].index("one") == lines[3].index("two")
