# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which paths can be watched for."""

from __future__ import annotations

import pytest

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.watching.patterns import PathPattern, check_marker, path_pattern


@pytest.mark.parametrize(
    ("text", "folder", "rest", "depth"),
    [
        ("/data/in/*.csv", "/data/in", "*.csv", 1),
        ("/data/*/in/r[12]?.csv", "/data", "*/in/r[12]?.csv", 3),
        ("/data/in/one file.csv", "/data/in", "one file.csv", 1),
        ("incoming/*", "incoming", "*", 1),
        ("*.csv", "", "*.csv", 1),
        ("/x", "/", "x", 1),
    ],
)
def test_a_path_is_a_folder_and_what_is_below(text: str, folder: str, rest: str, depth: int) -> None:
    pattern = path_pattern(text)
    assert (pattern, pattern.depth) == (PathPattern(folder, rest), depth)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not the path of files"),
        ("a\nb", "is not the path of files"),
        ("/data/**/x", "has `**`, which is not known"),
        ("/data/a\\*", "has a backslash"),
        ("~/in/*", "begins with `~`"),
        ("/data/in/", "is not the normal path of a file"),
        ("/data/../x", "is not the normal path of a file"),
        ("../x", "is not the normal path of a file"),
        ("//data/x", "is not the normal path of a file"),
        (".", "is not the normal path of a file"),
    ],
)
def test_other_paths_are_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match="^`path`: ") as error:
        path_pattern(text)
    assert why in error.value.message and error.value.hint


def test_markers_are_beside_their_files() -> None:
    pattern = path_pattern("/data/*/r*.csv")
    assert pattern.beside("{name}.done").rest == "*/r*.csv.done"
    assert pattern.beside("_SUCCESS").rest == "*/_SUCCESS"


@pytest.mark.parametrize("marker", ["", "a/b", "..", "{name}", "x\0", "*.done", "a" * 300])
def test_a_marker_is_the_name_of_another_file(marker: str) -> None:
    with pytest.raises(ConfigError, match="^`marker`: "):
        check_marker(marker)
