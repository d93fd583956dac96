# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is made at a host that others use, too: closed to them, and nothing that they planted is taken for ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid import shell_text
from airflow_hybrid.config import Deployment
from airflow_hybrid.containers import RUNTIMES, ImagePaths
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.connectors.base import own_folder
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.containers.images import obtain_command
from airflow_hybrid.sites.files.mover import DataMover
from airflow_hybrid.sites.files.requests import StageRequest
from airflow_hybrid.sites.files.store import store_path
from airflow_hybrid.sites.hosts.local import LocalHost
from tests import needs
from tests.unit.sites.shell_hosts import batch


def modes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mode & 0o777 for p in folder.iterdir() if p.is_dir()}


@pytest.fixture(autouse=True)
def ordinary_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


async def test_folders_in_the_work_directory_are_closed_and_a_job_keeps_its_umask(tmp_path: Path) -> None:
    workdir = tmp_path / "work"
    queue = JobQueue(LocalHost(), ProcessScheduler(), grace_s=1.0)
    made = batch(f"{workdir}/dag/run/task/g0/a1-x", 1, lambda i: ("sh", "-c", "umask; : >f; mkdir d"))
    await queue.submit(made)
    await queue.wait(made.directory)
    out = Path(made.directory, "00000", "out")
    assert Path(made.directory, "00000", "stdout").read_text() == "0022\n"
    assert [(out / name).stat().st_mode & 0o777 for name in ("f", "d")] == [0o644, 0o755]
    (tmp_path / "input").write_text("x")
    file = {"class": "File", "location": (tmp_path / "input").as_uri()}
    other = LocalHost("other", "other")
    await DataMover(Locations({"other": Deployment("other", "local")})).stage(
        [StageRequest.of(file, other, store_path(str(workdir), file))]
    )
    source = ImageSource(image_id="nothing:1")
    await other.run(obtain_command(RUNTIMES["podman"], source, ImagePaths(f"{workdir}/images"), "nothing:1"))
    assert workdir.stat().st_mode & 0o777 == 0o700
    assert modes(workdir) == {"dag": 0o700, "images": 0o700, "store": 0o700}
    assert modes(workdir / "dag") == {"run": 0o700}


RUNNER = shell_text.load("airflow_hybrid.sites.batches", "runner.sh")
OWN = RUNNER[RUNNER.index("ah_own()") : RUNNER.index("ah_image()")]


async def folder_for_locks(batch_folder: Path, tmp: Path) -> str:
    text = OWN.replace("/tmp/airflow_hybrid", f"{tmp}/airflow_hybrid")
    result = await LocalHost().run(f'ah_B={batch_folder}\n{text}\nah_own && echo "$ah_mine"')
    return result.out.strip() or result.err.strip()


async def test_locks_of_a_host_are_in_a_folder_of_the_user_s_own(tmp_path: Path) -> None:
    own = tmp_path / f"airflow_hybrid-{os.getuid()}"
    assert await folder_for_locks(tmp_path, tmp_path) == str(own)
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    assert await folder_for_locks(tmp_path, tmp_path) == str(own)
    assert own.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "planted", ["a folder of somebody else", "a link to a folder of ours", "a link to nothing", "a file"]
)
async def test_what_another_user_planted_is_not_used(tmp_path: Path, planted: str) -> None:
    if planted.endswith("else"):
        needs.root("make a folder of another user")
    own, victim, own_batch = tmp_path / f"airflow_hybrid-{os.getuid()}", tmp_path / "victim", tmp_path / "batch"
    victim.mkdir(mode=0o755)
    own_batch.mkdir()
    if planted == "a folder of somebody else":
        own.mkdir()
        os.chown(own, 65534, 65534)
    elif planted == "a file":
        own.write_text("")
    else:
        own.symlink_to(victim if planted.endswith("ours") else tmp_path / "nothing")
    assert await folder_for_locks(own_batch, tmp_path) == f"{own_batch}/host-{os.uname().nodename}"
    assert victim.stat().st_mode & 0o777 == 0o755 and list(victim.iterdir()) == []
    assert not (tmp_path / "nothing").exists()


async def test_a_host_without_any_folder_for_locks_says_so(tmp_path: Path) -> None:
    (tmp_path / f"airflow_hybrid-{os.getuid()}").write_text("")
    assert await folder_for_locks(tmp_path / "gone", tmp_path) == (
        f"airflow_hybrid: there is no folder for locks of this host, not in /tmp and not in {tmp_path / 'gone'}"
    )
    assert shutil.which("flock")


async def test_a_work_directory_in_tmp_is_the_user_s_own_or_none(tmp_path: Path) -> None:
    path = f"/tmp/airflow_hybrid-test-{os.getpid()}"
    try:
        assert await own_folder(LocalHost(), path) == path
        assert Path(path).stat().st_mode & 0o777 == 0o700
        assert await own_folder(LocalHost(), path) == path
        Path(path).rmdir()
        Path(path).symlink_to(tmp_path)
        with pytest.raises(SiteError) as caught:
            await own_folder(LocalHost(), path)
        assert str(caught.value) == (
            f"local (localhost): {path} does not belong to this user"
            "\n  -> somebody else made it: give the deployment a `workdir`"
        )
    finally:
        Path(path).unlink() if Path(path).is_symlink() else Path(path).rmdir()
