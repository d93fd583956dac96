# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: what lies in a job's directories before its command begins."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.model import StageEntry
from airflow_hybrid.sites.batches.script import job_function
from tests.unit.sites.batches.runner.runners import again, codes, run
from tests.unit.sites.shell_hosts import batch


def test_stage_entries_are_made_in_order(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "données"
    (source / "sub").mkdir(parents=True)
    (source / "sub/f").write_text("original")
    (source / "sub/f").chmod(0o444)
    (source / "link").symlink_to("sub/f")
    directory = f"{tmp_path}/T/a"
    out = f"{directory}/00000/out"
    stage = (
        StageEntry("mkdir", f"{out}/d"),
        StageEntry("file", f"{out}/d/run me.sh", text=b"#!/bin/sh\necho ran\n", executable=True),
        StageEntry("link", f"{out}/-in\n", source=f"{source}/sub/f"),
        StageEntry("copy", f"{out}/copy", source=str(source)),
        StageEntry("file", f"{out}/copy/new", text=b"\0\xff"),
        StageEntry("link", f"{out}/copy/sub/l", source=str(source)),
    )
    script = 'sh "d/run me.sh" && cat -- "./-in\n" && echo changed > copy/sub/f && echo changed > copy/link'
    folder = run(shell, batch(directory, 1, lambda i: ("sh", "-c", script), job={"stage": stage}))
    assert codes(folder) == {0: "0"}, (folder / "00000/stderr").read_text()
    assert (folder / "00000/stdout").read_text() == "ran\noriginal"
    assert (source / "sub/f").read_text() == "original"
    assert (folder / "00000/out/copy/new").read_bytes() == b"\0\xff"
    assert os.readlink(folder / "00000/out/copy/sub/l") == str(source)
    assert (folder / "00000/out/d/run me.sh").stat().st_mode & stat.S_IXUSR


def test_a_copy_has_what_links_lead_to_and_the_links_that_lead_nowhere(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "f").write_text("original")
    (source / "file").symlink_to("sub/f")
    (source / "sub" / "dead 'end").symlink_to("nowhere")
    directory = f"{tmp_path}/T/a"
    out = f"{directory}/00000/out"
    stage = (StageEntry("copy", f"{out}/w", source=str(source)),)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "f").write_text("another")
    (source / "folder").symlink_to(linked)
    script = "echo changed > w/file && rm w/folder/f && ls w w/sub"
    folder = run(shell, batch(directory, 1, lambda i: ("sh", "-c", script), job={"stage": stage}))
    assert codes(folder) == {0: "0"}, (folder / "00000/stderr").read_text()
    assert (folder / "00000/stdout").read_text() == "w:\nfile\nfolder\nsub\n\nw/sub:\ndead 'end\nf\n"
    assert os.readlink(f"{out}/w/sub/dead 'end") == "nowhere"
    assert ((source / "sub" / "f").read_text(), (linked / "f").read_text()) == ("original", "another")


def test_a_copy_that_fails_says_so(shell: str, tmp_path: Path) -> None:
    directory = f"{tmp_path}/T/a"
    entry = StageEntry("copy", f"{directory}/00000/out/x", source="/nonexistent")
    folder = run(shell, batch(directory, 1, job={"stage": (entry,)}))
    assert (folder / "ec/0").read_text() == "- its working directory cannot be prepared\n"
    assert "/nonexistent" in (folder / "00000/stderr").read_text()


@pytest.mark.parametrize("place", ["in.txt", "dir/in.txt"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_file_never_overwrites_an_input_that_is_staged_there(
    shell: str, tmp_path: Path, place: str, stream: str
) -> None:
    source = tmp_path / "inputs"
    source.mkdir()
    (source / "in.txt").write_text("precious")
    directory = f"{tmp_path}/T/a"
    entry = StageEntry("link", f"{directory}/00000/out/in.txt", source=f"{source}/in.txt")
    made = batch(directory, 1, job={"stage": (entry,), stream: place})
    if "/" in place:  # the archive would make the folder in which the link is to be
        job = made.jobs[0]
        made = replace(made, jobs=(replace(job, stage=(), stdout=None, stderr=None),))
        folder = run(shell, made)
        (folder / "00000/out/dir").symlink_to(source)
        (folder / "ec/0").unlink()
        (folder / "c/0").unlink()
        (folder / "jobs.0.sh").write_text(job_function(0, replace(job, stage=())))
        again(shell, folder)
    else:
        folder = run(shell, made)
    assert (source / "in.txt").read_text() == "precious"
    assert (folder / "ec/0").read_text() == "- its output file is, or lies in, an input: that would be overwritten\n"
