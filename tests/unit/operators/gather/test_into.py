# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs that come into a folder in which other things are."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import TransferError
from airflow_hybrid.operators.gather import outdir as outdir_module
from airflow_hybrid.operators.gather.record import RECORD
from tests import canaries, canary_watch

from .test_gather import content, file, gathered, names


def folder_of(path: Path) -> dict[str, Any]:
    return {"class": "Directory", "location": path.as_uri(), "basename": path.name}


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder: path -> content, or where a link leads, with the mode."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name == RECORD:
            continue
        what = "->" + os.readlink(path) if path.is_symlink() else "/" if path.is_dir() else path.read_text()
        found[path.relative_to(folder).as_posix()] = f"{what} {path.lstat().st_mode:o}"
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder, with inputs and what is precious."""
    folder = tmp_path / "home"
    for name, text in (("in.txt", "input"), ("data/raw/p.txt", "precious"), ("dd/m", "m"), ("dd/in/n", "n")):
        file(folder / name, text)
    return folder


def test_inputs_that_are_handed_on_stay_where_they_are_and_are_the_outputs(home: Path) -> None:
    before = tree(home)
    value = gathered({"f": file(home / "in.txt", "input"), "d": folder_of(home / "dd")}, home)
    assert tree(home) == before and not (home / RECORD).exists()
    assert value["f"]["location"] == (home / "in.txt").as_uri()
    assert value["d"]["location"] == (home / "dd").as_uri()
    assert [item["basename"] for item in value["d"]["listing"]] == ["in", "m"]


@pytest.mark.parametrize("way", ["link", "hard link", "linked folder"])
def test_the_same_file_under_another_path_is_there_already(home: Path, tmp_path: Path, way: str) -> None:
    source = home / "in.txt"
    out = tmp_path / "out"
    if way == "linked folder":
        out.symlink_to(home)
    else:
        out.mkdir()
        if way == "link":
            (out / "in.txt").symlink_to(source)
        else:
            os.link(source, out / "in.txt")
    before = tree(out)
    value = gathered({"f": file(source, "input")}, out)
    assert tree(out) == before and value["f"]["location"] == (out / "in.txt").as_uri()


def test_a_folder_is_merged_into_one_that_is_there_and_lists_only_its_own(home: Path, tmp_path: Path) -> None:
    file(tmp_path / "job/data/new.txt", "new")
    file(tmp_path / "job/data/raw/p.txt", "other")
    value = gathered({"o": folder_of(tmp_path / "job/data")}, home)
    assert (home / "data/raw/p.txt").read_text() == "precious"
    assert (home / "data/raw/p.txt_2").read_text() == "other" and (home / "data/new.txt").read_text() == "new"
    new, raw = value["o"]["listing"]
    assert (new["basename"], raw["basename"]) == ("new.txt", "raw")
    (inner,) = raw["listing"]
    assert (inner["basename"], inner["location"]) == ("p.txt", (home / "data/raw/p.txt_2").as_uri())


def test_a_file_of_somebody_else_stays_and_secondary_files_share_the_new_name(home: Path, tmp_path: Path) -> None:
    file(home / "a.bam.bai", "mine")
    index = file(tmp_path / "1/a.bam.bai", "index")
    value = gathered({"o": file(tmp_path / "1/a.bam", "x", secondaryFiles=[index])}, home)
    assert (home / "a.bam.bai").read_text() == "mine" and not (home / "a.bam").exists()
    assert value["o"]["location"] == (home / "a.bam_2").as_uri() and content(value["o"]) == "x"
    (second,) = value["o"]["secondaryFiles"]
    assert second["location"] == (home / "a.bam.bai_2").as_uri() and content(second) == "index"


def test_a_file_and_a_folder_of_one_name_are_told_apart(home: Path, tmp_path: Path) -> None:
    file(tmp_path / "1/in.txt/x", "x")
    value = gathered({"d": folder_of(tmp_path / "1/in.txt"), "f": file(tmp_path / "2/dd", "file")}, home)
    assert (home / "in.txt").read_text() == "input" and (home / "dd/m").read_text() == "m"
    assert (home / "in.txt_2/x").read_text() == "x" and (home / "dd_2").read_text() == "file"
    assert value["d"]["location"] == (home / "in.txt_2").as_uri()


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
@pytest.mark.parametrize("deep", [False, True])
def test_nothing_is_written_through_a_link(home: Path, tmp_path: Path, kind: str, deep: bool) -> None:
    victim = tmp_path / "victim"
    file(victim / "d/keep", "keep")
    file(victim / "f", "keep")
    lead = {"file": victim / "f", "folder": victim / "d", "nothing": victim / "new"}[kind]
    place = home / "data/raw/x" if deep else home / "x"
    place.symlink_to(lead)
    before = tree(victim)
    if deep:
        file(tmp_path / "1/data/raw/x/keep", "other")
        gathered({"o": folder_of(tmp_path / "1/data")}, home)
    else:
        file(tmp_path / "1/x/keep", "other")
        gathered({"o": folder_of(tmp_path / "1/x"), "f": file(tmp_path / "2/x", "file")}, home)
        assert (home / "x_3").read_text() == "file"
    assert tree(victim) == before and os.readlink(place) == str(lead)
    assert (place.parent / "x_2/keep").read_text() == "other"


def test_a_folder_that_outdir_is_in_never_copies_itself(home: Path) -> None:
    before = tree(home)
    file(home / "out/old", "old")
    for _ in range(2):
        value = gathered({"o": folder_of(home)}, home / "out", run="r")
    inside = tree(home / "out/home")
    assert inside == before and names(home / "out") == ["home", "old"]
    assert [item["basename"] for item in value["o"]["listing"]] == ["data", "dd", "in.txt"]


def test_outdir_itself_as_an_output_is_there_already(home: Path) -> None:
    before = tree(home)
    value = gathered({"o": folder_of(home)}, home)
    assert tree(home) == before and value["o"]["location"] == home.as_uri()


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        file(tmp_path / f"1/d/{name}/f", name)
        (tmp_path / f"1/d/{name}/other").symlink_to(f"../{other}")
    gathered({"o": folder_of(tmp_path / "1/d")}, tmp_path / "out")
    assert sorted(tree(tmp_path / "out/d")) == [
        "a", "a/f", "a/other", "a/other/f", "b", "b/f", "b/other", "b/other/f",
    ]  # fmt: skip


# --- tries and runs --------------------------------------------------------------------------------------------------


def test_what_an_earlier_try_of_the_run_has_put_there_is_replaced(home: Path, tmp_path: Path) -> None:
    file(home / "out.txt", "mine")
    first = {"o": file(tmp_path / "1/out.txt", "one"), "d": folder_of(tmp_path / "1/d")}
    file(tmp_path / "1/d/old", "old")
    file(tmp_path / "1/d/same", "1")
    gathered(first, home, run="r")
    file(tmp_path / "2/d/same", "2")
    value = gathered({"o": file(tmp_path / "2/out.txt", "two"), "d": folder_of(tmp_path / "2/d")}, home, run="r")
    assert (home / "out.txt").read_text() == "mine" and (home / "out.txt_2").read_text() == "two"
    assert sorted(path.name for path in (home / "d").iterdir()) == ["same"], "of an earlier try nothing is left"
    assert (home / "d/same").read_text() == "2" and content(value["o"]) == "two"


def test_what_was_changed_after_an_earlier_try_is_somebody_elses(tmp_path: Path) -> None:
    out = tmp_path / "out"
    gathered({"o": file(tmp_path / "1/o", "one"), "p": file(tmp_path / "1/p", "one")}, out, run="r")
    (out / "o").write_text("changed by hand")
    (out / "p").unlink()
    (out / "p").write_text("one")
    gathered({"o": file(tmp_path / "2/o", "two"), "p": file(tmp_path / "2/p", "two")}, out, run="r")
    assert [(out / name).read_text() for name in ("o", "o_2", "p", "p_2")] == ["changed by hand", "two", "one", "two"]


@pytest.mark.parametrize(("existing", "expected"), [("rename", ["o", "o_2"]), ("replace", ["o"])])
def test_outputs_of_another_run_are_replaced_only_where_that_is_asked_for(
    tmp_path: Path, existing: str, expected: list[str]
) -> None:
    out = tmp_path / "out"
    gathered({"o": file(tmp_path / "1/o", "one")}, out, run="1")
    value = gathered({"o": file(tmp_path / "2/o", "two")}, out, run="2", existing=existing)
    assert names(out) == expected and content(value["o"]) == "two"


def test_what_is_no_output_of_ours_is_never_replaced(home: Path, tmp_path: Path) -> None:
    gathered({"o": file(tmp_path / "1/in.txt", "output")}, home, run="1", existing="replace")
    assert (home / "in.txt").read_text() == "input" and (home / "in.txt_2").read_text() == "output"


def test_it_can_be_an_error_that_something_is_there_and_then_nothing_is_put(home: Path, tmp_path: Path) -> None:
    before = tree(home)
    file(tmp_path / "1/dd/m", "other")
    outputs = {
        "a": file(tmp_path / "1/a", "x"),
        "f": file(tmp_path / "1/in.txt", "x"),
        "d": folder_of(tmp_path / "1/dd"),
    }
    with pytest.raises(TransferError) as caught:
        gathered(outputs, home, run="r", existing="fail")
    assert str(caught.value) == (
        f"{home} has other files under the names of this run's outputs: in.txt, dd/m\n"
        "  -> move it away, choose another `outdir` (`--outdir`), or let outputs get new names"
        " (`existing_outputs: rename`, `--existing rename`)"
    )
    assert tree(home) == before


def test_a_gather_that_was_killed_leaves_nothing_half_and_the_next_one_completes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = {name: file(tmp_path / f"1/{name}", name * 3) for name in ("a", "b", "c")}
    place, calls = outdir_module._name, []

    def killed(source: str, number: int, name: str) -> bool:
        calls.append(name)
        place(source, number, name)
        if len(calls) == 2:  # after the second has its name, and before anybody knows
            os._exit(9)
        return True

    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(outdir_module, "_name", killed)
        gathered(outputs, home, run="r")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    there = [name for name in ("a", "b", "c") if (home / name).exists()]
    assert len(there) == 2 and all((home / name).read_text() == name * 3 for name in there)
    value = gathered(outputs, home, run="r")
    assert names(home) == ["a", "b", "c", "data", "dd", "in.txt"]
    assert all(content(value[name]) == name * 3 for name in "abc")


def test_without_hard_links_nothing_is_replaced_either(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    gathered({"o": file(tmp_path / "1/in.txt", "x"), "p": file(tmp_path / "1/p", "p")}, home, run="r")
    gathered({"o": file(tmp_path / "2/in.txt", "y"), "p": file(tmp_path / "2/p", "q")}, home, run="r")
    assert [(home / n).read_text() for n in ("in.txt", "in.txt_2", "p")] == ["input", "y", "q"]


@pytest.mark.parametrize("record", ["link", "words", "folder"])
def test_what_only_has_the_name_of_the_record_is_not_written_to(home: Path, tmp_path: Path, record: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    if record == "link":
        (home / RECORD).symlink_to(victim)
    elif record == "folder":
        (home / RECORD).mkdir()
    else:
        (home / RECORD).write_text("mine\n")
    with pytest.raises(TransferError) as caught:
        gathered({"o": file(tmp_path / "1/o", "x")}, home, run="r")
    assert str(caught.value) == f"{home}/{RECORD} is not a record of airflow_hybrid\n  -> move it away"
    assert victim.read_text() == "keep" and not (home / "o").exists()


def test_a_forged_record_lets_nothing_outside_of_outdir_be_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    gathered({"o": file(tmp_path / "1/o", "one")}, out, run="r")
    victim = tmp_path / "victim"
    victim.write_text("keep")
    found = victim.stat()
    with (out / RECORD).open("a") as record:
        for path in ("../victim", str(victim)):
            record.write(
                f'{{"run":"r","path":"{path}","inode":{found.st_ino},"size":4,"mtime_ns":{found.st_mtime_ns},'
                '"folder":false}\n'
            )
    gathered({"o": file(tmp_path / "2/o", "two")}, out, run="r")
    assert victim.read_text() == "keep" and (out / "o").read_text() == "two"


@pytest.mark.parametrize(
    "line",
    [
        '{"run":"r","path":5,"inode":1,"size":1,"mtime_ns":1}',
        '{"run":"r","path":"o","inode":"1","size":1,"mtime_ns":1}',
        '{"run":["r"],"path":"o","inode":1,"size":1,"mtime_ns":1}',
        "[" * 200_000,
        '"o"',
    ],
)
def test_a_line_of_a_record_that_is_none_proves_nothing(tmp_path: Path, line: str) -> None:
    out = tmp_path / "out"
    gathered({"o": file(tmp_path / "1/o", "one")}, out, run="r")
    with (out / RECORD).open("a") as record:
        record.write(f"{line}\n")
    gathered({"o": file(tmp_path / "2/o", "two")}, out, run="r")
    assert (out / "o").read_text() == "two"


def test_a_changed_source_leaves_what_was_there(home: Path, tmp_path: Path) -> None:
    before = tree(home)
    item = file(tmp_path / "1/in.txt", "one")
    (tmp_path / "1/in.txt").write_text("changed")
    found = "sha1$" + hashlib.sha1(b"changed").hexdigest()
    with pytest.raises(TransferError) as caught:
        gathered({"o": item}, home)
    assert str(caught.value) == (
        f"{tmp_path}/1/in.txt was changed after it was produced: its checksum is {found}, not {item['checksum']}\n"
        "  -> clear the task that made it to make it again"
    )
    assert tree(home) == before
    shutil.rmtree(home)


def test_the_record_does_not_grow_with_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_hybrid.operators.gather.record._MOST_OLD", 5)
    out = tmp_path / "out"
    for number in range(20):
        gathered({"o": file(tmp_path / f"{number}/o", str(number))}, out, run=str(number), existing="replace")
    assert names(out) == ["o"] and (out / "o").read_text() == "19"
    assert len((out / RECORD).read_text().splitlines()) < 12


def test_a_link_that_a_job_put_to_what_is_there_is_not_taken_for_it(home: Path, tmp_path: Path) -> None:
    job = tmp_path / "work/dag/run/task/g0-0a/a1-0f/00000/out"
    job.mkdir(parents=True)
    (job / "in.txt").symlink_to(home / "in.txt")
    (job / "dd").symlink_to(home / "dd")
    before = tree(home)
    made = {"class": "File", "location": (job / "in.txt").as_uri(), "basename": "in.txt"}
    for item in (made, folder_of(job / "dd")):
        with pytest.raises(TransferError) as caught:
            gathered({"o": item}, home)
        assert str(caught.value).split("\n")[0] == (
            f"a symbolic link has replaced {job}/{item['basename']} or a folder above it: it is not followed"
        )
    assert tree(home) == before


@pytest.mark.parametrize("existing", ["rename", "replace"])
def test_outputs_with_odd_names_harm_nothing_that_is_in_outdir(existing: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    place = canary_watch.here()
    place.add(canaries.anywhere(str(out)))
    made = [file(tmp_path / "job" / name, name) for name in canaries.NAMES]
    value = gathered({"all": made, "d": folder_of(tmp_path / "job")}, out, existing=existing)
    assert [content(item) for item in value["all"]] == list(canaries.NAMES)
    assert sorted(content(item) for item in value["d"]["listing"]) == sorted(canaries.NAMES)
    assert place.damage() == []
