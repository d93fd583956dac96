# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Parts of a key that other parts usually tell as well, each by itself."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.jobs.job import Grant
from airflow_hybrid.cwl.jobs.reuse import contents_of, paths_of, reuse_key
from airflow_hybrid.model import SiteFacts
from tests.unit.engine.reuse.reuse_pairs import Job
from tests.unit.engine.reuse.test_reuse import Run
from tests.unit.engine.reuse.test_reuse import Site as Reusing
from tests.unit.engine.reuse.test_reuse import site as reusing
from tests.unit.engine.reuse.test_reuse_outside import Site
from tests.unit.engine.reuse.test_reuse_outside import site as site

__all__ = ["reusing", "site"]

JOB = Job(
    {
        "class": "CommandLineTool",
        "baseCommand": "echo",
        "inputs": [{"id": "@a", "type": "string", "inputBinding": {"position": 1}}],
        "outputs": [{"id": "@o", "type": "File", "outputBinding": {"glob": "o"}}],
        "stdout": "o",
        "requirements": [],
        "hints": [],
    },
    {"a": "x"},
    {},
)


def key(job: Job, cores: float | None = None, around: Any = (), **script: Any) -> str | None:
    """A job's key, with other resources, or another script than the one that was built."""
    document = {**job.document(), "hints": list(around)}
    (pending,) = Fragment(document).start([job.given("/data")], name="t").pump()
    built = pending.build("/w/j", {}, SiteFacts(), Grant(cores))
    contents = contents_of(pending, {}) or {}
    return reuse_key(pending, dataclasses.replace(built, **script), contents, paths_of(pending, contents), None)


def test_every_field_of_the_built_job_counts() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"command": ("echo", "y")},
        {"command": ("echo x",), "shell": True},
        {"command": ("echo x",)},
        {"environment": {"A": "b"}},
        {"stdin": "/data/x"},
        {"stdout": "p"},
        {"stderr": "e"},
        {"stage": ()},
        {"outdir": "/elsewhere"},
    ]
    keys = [key(JOB, **change) for change in changes]
    assert len(set(keys)) == len(changes) - 1  # the stage is empty as it was


def test_what_a_job_was_granted_counts() -> None:
    assert key(JOB) == key(JOB, cores=1) != key(JOB, cores=2)


def test_what_the_workflow_around_it_requires_counts() -> None:
    def needs(package: str) -> str | None:
        return key(JOB, around=[{"class": "SoftwareRequirement", "packages": [{"package": package}]}])

    assert needs("a") == needs("a") != needs("b")


def test_a_file_that_the_tool_names_counts() -> None:
    def named(path: str) -> Job:
        job = copy.deepcopy(JOB)
        default = {"class": "File", "location": f"file://{path}"}
        job.tool["outputs"].append({"id": "@n", "type": ["null", "File"], "airflow_hybrid:default": default})
        return job

    assert key(named("/a")) == key(named("/a")) != key(named("/b"))


def test_what_the_hybrid_file_says_of_the_place_counts(reusing: Reusing) -> None:
    reusing.run()
    reusing.run()
    assert reusing.ran == 1
    reusing.run(Run(deployment={"containers": "none"}))
    assert reusing.ran == 2


def test_what_changed_while_a_job_ran_is_not_recorded(site: Site) -> None:
    changes_itself = "mv $0.next $0 || :; echo 1"
    site.program("tool.next", "echo 2")
    site.program("tool", changes_itself)
    assert site.run(["tool"]) == "1\n"
    site.program("tool", changes_itself)
    assert site.run(["tool"]) == "1\n"
    assert site.ran == 2


def test_an_image_that_was_made_anew_is_another_one(site: Site, tmp_path: Path) -> None:
    """With a stand-in for apptainer that runs the command where it is."""
    runtime = site.bin / "apptainer"
    runtime.write_text(
        '#!/bin/sh\ncase $1 in --version) echo "apptainer version 1.3.4"; exit ;; esac\n'
        "while [ $# -gt 0 ]; do case $1 in *.sif) shift; break ;; esac; shift; done\n"
        f'echo ran >> {site.count}\nexec "$@"\n'
    )
    runtime.chmod(0o755)
    image = tmp_path / "site" / "images" / "image.sif"
    image.parent.mkdir(parents=True)
    image.write_text("one")
    docker = {"class": "DockerRequirement", "dockerImageId": str(image)}
    words = ["echo", "1"]
    for content, ran in (("one", 1), ("one", 1), ("two", 2)):
        if image.read_text() != content:
            image.write_text(content)
        assert site.run(words, requirements=[docker], containers="apptainer") == "1\n"
        assert site.ran == ran
