# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The canaries of the tests notice whatever is done to them, and name it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import canaries
from tests.canary_watch import Place, Watch, here


def to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (lambda path: path.unlink(), "was removed"),
    "rewritten": (lambda path: path.write_text("x"), "was changed: its content is another"),
    "touched": (lambda path: os.utime(path), "was changed: it was written to (its time is another)"),
    "mode": (lambda path: path.chmod(0o777), "was changed: its mode was 0o640 and is 0o777"),
    "hard link": (
        lambda path: os.link(path, path.parent / "more"),
        "was changed: it had 1 name(s) and has 2 (hard links)",
    ),
    "link": (to_link, "was changed: it was a file and is a link to '/etc/passwd'"),
    "folder": (to_folder, "was changed: it was a file and is a folder"),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = here()
    made.add(canaries.around(f"{tmp_path}/x/My Project/work", str(tmp_path)))
    made.add(canaries.inside(f"{tmp_path}/x/My Project/work"))
    return made


@pytest.mark.parametrize("name", ["My", "-rf", "new\nline", "it's"])
@pytest.mark.parametrize(("harm", "said"), HARM.values(), ids=HARM)
def test_harm_to_a_file_is_told_once_and_by_name(
    place: Place, tmp_path: Path, harm: Callable[[Path], object], said: str, name: str
) -> None:
    assert place.damage() == []
    path = tmp_path / "x" / name
    harm(path)
    assert place.damage() == [f"here: {str(path)!r} {said}"]
    assert place.damage() == [], "it is told once"


def test_harm_to_a_link_and_to_a_folder_is_told_by_name(place: Place, tmp_path: Path) -> None:
    work = tmp_path / "x" / "My Project" / "work"
    link, folder = work / ".incoming-link", work / "store" / "new.xyz"
    link.unlink()
    link.symlink_to("/tmp")
    (folder / "more").write_text("")
    outside = f"{tmp_path}/x/My Project/outside of the work directory"
    assert sorted(place.damage()) == [
        f"here: {str(link)!r} was changed: it led to {outside!r} and leads to '/tmp'",
        f"here: {str(folder)!r} was changed: 'more' appeared in it",
    ]
    (folder / "more").unlink()
    (folder / "f").unlink()
    assert sorted(place.damage()) == [
        f"here: {str(folder)!r} was changed: 'f' is gone from it, 'more' is gone from it",
        f"here: {str(folder / 'f')!r} was removed",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("My Project", "rm -rf {path}"),
        ("a  b", "rm -rf {path}"),
        ("a  b", "rm -rf $(printf {word})"),
        ("[hybrid]", "work={word}; rm -rf $work"),
        ("h*", "rm -rf {path}"),
        ("y", "rm -rf {path}*"),
        ("$HOM y", "eval rm -rf {word}"),
        ("o'cl'ock", "eval rm -rf {path}"),
        ("%yz", "rm -rf $(printf {word} 2>/dev/null)"),
        ("-work", "cd {parent}; rm -rf work"),
        ("work", "rm -rf {parent}/*"),
    ],
)
def test_text_that_does_not_quote_a_path_removes_a_canary(tmp_path: Path, name: str, text: str) -> None:
    """The faults that they are for: no quotes, quotes that are read away, patterns, formats, names like options."""
    work = f"{tmp_path}/x/{name}"
    place = here()
    place.add(canaries.around(work, str(tmp_path)))
    Path(work).mkdir()
    bad = text.format(path=work, word=shlex.quote(work), parent=f"{tmp_path}/x")
    subprocess.run(["bash", "-c", bad], cwd="/", capture_output=True, check=False)
    assert [line for line in place.damage() if line.endswith("was removed")]


@pytest.mark.parametrize("name", ["My Project", "a  b"])
def test_a_quoted_word_inside_quotes_is_seen_to_remove_another_folder(tmp_path: Path, name: str) -> None:
    work = f"{tmp_path}/x/{name}/work"
    place = here()
    place.add(canaries.around(work, str(tmp_path)))
    Path(work, "new.1").mkdir(parents=True)
    bad = f"trap 'rm -rf {shlex.quote(f'{work}/new.1')}' EXIT"
    subprocess.run(["bash", "-c", bad], cwd=tmp_path / "x", capture_output=True, check=False)
    first = name.split()[0]
    assert place.damage() == [f"here: {f'{tmp_path}/x/{first}'!r} was removed"]


def test_a_watch_complains_of_all_that_is_not_as_it_was(tmp_path: Path) -> None:
    watch = Watch()
    watch.plant_here(canaries.anywhere(str(tmp_path)))
    watch.check_here()
    shutil.rmtree(tmp_path / "canaries in a folder")
    with pytest.raises(AssertionError) as caught:
        watch.check_here()
    inner = f"{tmp_path}/canaries in a folder"
    names = ["", "/-r f", "/.hidden", "/link", "/new\nline"]
    lines = [f"here: {inner + name!r} was removed" for name in names]
    assert str(caught.value).split("\n")[0] == "files that the test does not own are not as they were:"
    assert sorted(str(caught.value).split("\n")[1:]) == sorted(lines)
    watch.check_here()


def test_what_is_there_already_is_not_taken_for_a_canary(tmp_path: Path) -> None:
    (tmp_path / "*").write_text("somebody's")
    place = here()
    place.add(canaries.anywhere(str(tmp_path)))
    (tmp_path / "*").unlink()
    assert place.damage() == [] and not (tmp_path / "*").exists()
