# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Scripts of sites that remove or replace: only what is ours, under any name of the work directory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.errors import SiteError
from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.files import scripts
from airflow_hybrid.sites.reuse import commands as reuse_commands
from tests.needs import SHELLS, posix_shell
from tests.raising import raising
from tests.unit.sites.shell_hosts import ShellHost, batch, label

NAMES = ["My Project", "it's", '"', "$HOME", "50%", "[a]", "-work", "*", "two\nlines", "@N@ @R@", "a;b&"]


@pytest.fixture(params=sorted(SHELLS))
def sh(request: pytest.FixtureRequest) -> list[str]:
    return posix_shell(request.param)


@pytest.fixture(params=NAMES, ids=repr)
def workdir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A work directory whose name breaks what does not quote; its neighbours are what a mistake would hit."""
    name: str = request.param
    return tmp_path / name / "work"


@pytest.fixture(autouse=True)
def neighbours(tmp_path: Path) -> object:
    kept = [tmp_path / name / "precious" for name in ("My", "it", "two", "a", "work")]
    for path in kept:
        path.parent.mkdir()
        path.write_text("precious")
    yield
    assert [path.read_text() for path in kept] == ["precious"] * len(kept)


def run(argv: list[str], text: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*argv, "-c", text], input=stdin, capture_output=True, cwd="/")


def test_records_of_finished_jobs_are_kept_and_nothing_else_is_touched(sh: list[str], workdir: Path) -> None:
    key = f"{'a' * 16}/{'b' * 64}"
    for _ in range(2):
        done = run(sh, reuse_commands.store_command(str(workdir)), reuse_commands.store_input({key: {"x": 1}}))
        assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")
    look = reuse_commands.lookup_command(str(workdir), "a" * 16, str(workdir / "T"))
    found = run(sh, look, reuse_commands.lookup_input([key]))
    assert reuse_commands.parse_lookup(found.stdout).records[key]["x"] == 1
    assert sorted(p.name for p in (workdir / "reuse").iterdir()) == [MARKER, "a" * 16]


def test_an_index_that_we_did_not_make_is_added_to_and_never_thinned(
    sh: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse_commands, "MOST_FILES", 2)
    folder = tmp_path / "w/reuse" / ("a" * 16)
    folder.mkdir(parents=True)
    for name in ("r.thesis", "r.data", "r.more"):
        (folder / name).write_text("mine\n")
    data = reuse_commands.store_input({f"{'a' * 16}/{'b' * 64}": {"x": 1}})
    assert run(sh, reuse_commands.store_command(str(tmp_path / "w")), data).returncode == 0
    assert all((folder / name).read_text() == "mine\n" for name in ("r.thesis", "r.data", "r.more"))
    assert len(list(folder.glob("r.*"))) == 4


def test_what_is_put_and_discarded_or_committed_leaves_only_the_copy(sh: list[str], workdir: Path) -> None:
    store = workdir / "store"
    target = store / "ab" / ("c" * 40) / "file -x"
    assert run(sh, scripts.put(str(store), "t1"), b"abc").returncode == 0
    assert run(sh, scripts.discard(str(store), "t1")).stderr == b""
    assert run(sh, scripts.put(str(store), "t2"), b"abc").returncode == 0
    done = run(sh, scripts.commit(str(store), "t2", str(target)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert target.read_bytes() == b"abc" and not list(store.glob(".incoming*"))


def test_what_an_old_transfer_left_goes_and_what_only_looks_like_it_stays(sh: list[str], tmp_path: Path) -> None:
    store = tmp_path / "w/store"
    for name in (".incoming-old", ".incoming-backup"):
        (store / name / "x").mkdir(parents=True)
        (store / name / "x/f").write_text("x")
    (store / ".incoming-old" / MARKER).write_text(f"{MARKER_LINE}\n")
    (store / ".incoming-link").symlink_to(tmp_path / "My")
    for name in (".incoming-old", ".incoming-backup"):
        subprocess.run(["touch", "-d", "5 days ago", str(store / name)], check=True)
    item = scripts.Item("f", "/nothing", f"{store}/ab/{'c' * 40}/f", "c" * 40)
    run(sh, scripts.receive(str(store), "new", [item], compressed=False))
    assert sorted(p.name for p in store.glob(".incoming*")) == [".incoming-backup", ".incoming-link"]


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("left", [".new.a", "a"])
@pytest.mark.parametrize("what", ["folder", "link"])
async def test_a_submit_removes_nothing_that_is_not_ours(tmp_path: Path, shell: str, left: str, what: str) -> None:
    task, victim = tmp_path / "w/T", tmp_path / "victim"
    for folder in (task, victim):
        folder.mkdir(parents=True)
        (folder / "keep").write_text("x")  # so that neither is one of ours
    if what == "link":
        (task / left).symlink_to(victim)
    else:
        (task / left).mkdir()
        (task / left / "keep").write_text("x")
    queue = JobQueue(ShellHost(shell), ProcessScheduler())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_hybrid.sites.batches.queue.SUBMIT_PAUSES_S", ())
        made = batch(f"{task}/a", 1)
        why = "it is a symbolic link" if what == "link" else "it was not made by airflow_hybrid"
        message = (
            f"test ({shell}): {label(made)}: airflow_hybrid: not removed: {task}/{left}: {why}\n"
            "  -> something that this version of airflow_hybrid did not make is in the way: move it away, or clear the "
            "task, which then gets another directory"
        )
        with raising(SiteError, message):
            await queue.submit(made)
    assert (victim / "keep").read_text() == "x" and (task / left / "keep").read_text() == "x"
