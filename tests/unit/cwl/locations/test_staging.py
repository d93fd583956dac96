# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is made in a job's directory, and what its container shows."""

from __future__ import annotations

import pytest

from airflow_hybrid.cwl.locations.location import JobLocation
from airflow_hybrid.cwl.locations.paths import Inside, JobFiles
from airflow_hybrid.cwl.locations.staging import Box, refuse_streams_into_inputs
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import SiteFacts, StageEntry
from airflow_hybrid.model.containers import Mount
from tests.raising import raising

JOB = "/site/job"
INSIDE = Inside("/box/out", "/box/tmp", "/box/in")
ALWAYS = [Mount(f"{JOB}/out", "/box/out", True), Mount(f"{JOB}/tmp", "/box/tmp", True)]


def location() -> JobLocation:
    return JobLocation(JOB, JobFiles({}, {}, {}), SiteFacts(), INSIDE)


@pytest.mark.parametrize(
    ("target", "source", "kind", "made_at", "mounts"),
    [
        # in a folder of the job: made there, whatever it is made of
        ("/box/out/d/x", "/store/x", "read", f"{JOB}/out/d/x", []),
        ("/box/tmp/x", None, "write", f"{JOB}/tmp/x", []),
        # anywhere else: what is there already is mounted, and nothing is made
        ("/box/in/1/x", "/store/x", "read", None, [Mount("/store/x", "/box/in/1/x", False)]),
        ("/data/x", "/store/x", "write", None, [Mount("/store/x", "/data/x", True)]),
        # a literal or a copy is made beside the job's folders, and mounted
        ("/box/in/1/x", None, "read", f"{JOB}/in/2/x", [Mount(f"{JOB}/in/2/x", "/box/in/1/x", False)]),
        ("/data", None, "folder", f"{JOB}/in/2/data", [Mount(f"{JOB}/in/2/data", "/data", True)]),
        # only the name is like that of a folder of the job
        ("/box/outer", "/store/x", "read", None, [Mount("/store/x", "/box/outer", False)]),
    ],
)
def test_a_container_shows_what_is_staged_where_the_tool_expects_it(
    target: str, source: str | None, kind: str, made_at: str | None, mounts: list[Mount]
) -> None:
    box = Box(location())
    assert box.place(target, source, kind != "read", folder=kind == "folder") == made_at
    assert box.mounts == [*ALWAYS, *mounts]
    assert box.hosts == {target: made_at or source}


def test_what_lies_in_a_folder_that_was_made_is_made_in_it() -> None:
    box = Box(location())
    box.place("/data", None, writable=True, folder=True)
    assert box.place("/data/sub/x", "/store/x", writable=False, folder=False) == f"{JOB}/in/2/data/sub/x"
    assert len(box.mounts) == 3


@pytest.mark.parametrize("target", ["/box/out/../x", "/box/out//x", "/box/out/x/"])
def test_no_path_that_is_not_normal_is_mounted(target: str) -> None:
    box = Box(location())
    with raising(CwlError, f"{target} is not the path of a file or folder: nothing is staged there"):
        box.place(target, "/store/x", writable=False, folder=False)
    assert box.mounts == ALWAYS


def test_what_a_link_leads_to_is_shown_once_for_each_right() -> None:
    box = Box(location())
    shown = [box.show("/store/x", writable) for writable in (False, False, True)]
    assert shown == ["/box/in/links/1/x", "/box/in/links/1/x", "/box/in/links/2/x"]
    assert box.mounts == [*ALWAYS, Mount("/store/x", shown[0], False), Mount("/store/x", shown[2], True)]


INPUT = StageEntry("link", f"{JOB}/out/in", "/store/x")
OVERWRITTEN = (
    "{} is {!r}, where an input is staged: it would be overwritten\n"
    "  -> give the stream another name, or make the entry `writable`, so that it is a copy"
)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("path", ["in", "in/log", "./in", "d/../in"])
def test_what_a_job_prints_goes_into_no_input(stream: str, path: str) -> None:
    with raising(CwlError, OVERWRITTEN.format(stream, path)):
        refuse_streams_into_inputs({"stdout": None, "stderr": None, stream: path}, [INPUT], location())


@pytest.mark.parametrize("path", [None, "out", "input", "d/in"])
def test_what_a_job_prints_may_go_beside_its_inputs(path: str | None) -> None:
    copied = StageEntry("copy", f"{JOB}/out/out", "/store/y")
    refuse_streams_into_inputs({"stdout": path, "stderr": path}, [INPUT, copied], location())
