# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job uses without owning it decides whether it is the same: programs, scripts, files, the environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.cwl.jobs.outside import outside_of
from airflow_hybrid.cwl.locations.job_paths import JobPaths
from airflow_hybrid.engine import FragmentOutcome, TaskIdentity
from airflow_hybrid.model import FileRef, JobScript
from airflow_hybrid.model.jobs import Outside
from tests.unit.engine.execution import run_spec, spec_of


class Site:
    """A place of work with programs of its own; each run of one is noted in a file that it never reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.count = folder / "count"
        self._runs = 0

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\necho ran >> {self.count}\n{text}\n")
        path.chmod(0o755)
        return path

    def run(
        self, command: list[str], shell: bool = False, requirements: Any = (), containers: str = "none", **binding: Any
    ) -> str:
        """The output of a tool with this command line (or shell text) in a run that asks for reuse."""
        self._runs += 1
        tool: dict[str, Any] = {"cwlVersion": "v1.2", "class": "CommandLineTool", "inputs": [], "stdout": "o.txt"}
        tool["outputs"] = {"o": {"type": "stdout"}}
        tool["arguments"] = [{"valueFrom": word, "shellQuote": False} for word in command] if shell else command
        tool["requirements"] = [*requirements, *([{"class": "ShellCommandRequirement"}] if shell else [])]
        document = self.folder / "tool.cwl"
        document.write_text(yaml.safe_dump(tool))
        place = {"type": "local", "config": {}, "workdir": str(self.folder / "site"), "containers": containers}
        identity = TaskIdentity("dag", f"run{self._runs}", "task", origin=f"run{self._runs}")
        bindings = {"/": {"target": "site", **binding}}
        spec = spec_of(document, {}, {"site": place}, bindings, identity)
        return _text(run_spec(replace(spec, reuse_asked=True))[0])

    @property
    def ran(self) -> int:
        return len(self.count.read_text().splitlines()) if self.count.exists() else 0


def _text(outcome: FragmentOutcome) -> str:
    return Path(FileRef.parse(outcome.results[0].outputs["o"]["location"]).path).read_text()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    found = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{found.bin}:{os.environ['PATH']}")
    return found


def test_a_program_that_was_replaced_is_another_one(site: Site) -> None:
    site.program("tool", "echo 1")
    assert site.run(["tool"]) == site.run(["tool"]) == "1\n"
    assert site.ran == 1
    site.program("tool", "echo 2")  # as long as it was, within the same second
    assert site.run(["tool"]) == "2\n"
    site.program("tool", "echo 1")
    assert site.run(["tool"]) == "1\n"
    assert site.ran == 2, "the first one is there again, and so are its outputs"


@pytest.mark.parametrize(
    "command",
    [
        lambda script: ["sh", str(script)],
        lambda script: [str(script)],
        lambda script: ["env", "A=b", "sh", str(script)],
        lambda script: ["sh", "-c", f"cat /dev/null; . {script}"],
        lambda script: ["sh", "-c", '. "$1"', "sh", str(script)],
    ],
    ids=["interpreter", "program", "prefixed", "sourced", "argument"],
)
def test_a_script_outside_that_was_edited_is_another_one(site: Site, command: Callable[[Path], list[str]]) -> None:
    words = command(site.program("script", "echo 1"))
    assert site.run(words) == site.run(words) == "1\n"
    assert site.ran == 1
    site.program("script", "echo 2")
    assert site.run(words) == "2\n"


def test_a_program_further_up_the_path_is_another_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.program("tool", "echo 1")
    assert site.run(["tool"]) == "1\n"
    nearer = site.folder / "nearer"
    nearer.mkdir()
    monkeypatch.setenv("PATH", f"{nearer}:{os.environ['PATH']}")
    shutil.copy(site.program("tool", "echo 2"), nearer / "tool")
    assert site.run(["tool"]) == "2\n"


def test_what_interprets_a_script_counts(site: Site) -> None:
    site.program("language", "echo 1")
    script = site.bin / "ah-script"
    script.write_text(f"#!{site.bin}/language\n")
    script.chmod(0o755)
    assert site.run(["ah-script"]) == site.run(["ah-script"]) == "1\n"
    assert site.ran == 1
    site.program("language", "echo 2")
    assert site.run(["ah-script"]) == "2\n"


def test_programs_in_shell_text_count(site: Site) -> None:
    site.program("first", "echo 1")
    site.program("second", "cat")
    words = ["A=b first | (second)", "; cat"]
    assert site.run(words, shell=True) == site.run(words, shell=True) == "1\n"
    assert site.ran == 2
    site.program("second", "sed s/1/2/")
    assert site.run(words, shell=True) == "2\n"


def test_the_locations_environment_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.program("tool", "echo 1")
    monkeypatch.setenv("LC_ALL", "C")
    site.run(["tool"])
    site.run(["tool"])
    assert site.ran == 1
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    site.run(["tool"])
    assert site.ran == 2


@pytest.mark.parametrize(
    ("command", "shell"),
    [
        (["tool", "{folder}"], False),
        (["tool", "../../../../x"], False),
        (["T=tool; $T"], True),
        (["tool", "$DATA/x"], True),
        (["tool", "~root/x"], True),
        (["command -v nothing-of-this-name; false || tool; { no_such_program || :; }"], True),
    ],
    ids=["a-folder", "upwards", "a-program-in-a-variable", "a-path-in-a-variable", "a-home", "a-program-not-there"],
)
def test_what_cannot_be_known_runs(
    site: Site, command: list[str], shell: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(site.folder))
    site.program("tool", "echo 1")
    words = [word.format(folder=site.bin) if word == "{folder}" else word for word in command]
    assert site.run(words, shell) == site.run(words, shell)
    assert site.ran == 2


def test_reuse_is_asked_for_and_what_is_more_specific_takes_precedence(site: Site) -> None:
    site.program("tool", "echo 1")
    site.run(["tool"])
    site.run(["tool"], reuse=False)
    assert site.ran == 2
    site.run(["tool"], reuse=True)
    assert site.ran == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b; c && d || e & (f)", {"a", "b", "c", "d", "e", "f"}),
        ("if a; then b; else c; fi; while d; do e; done", {"a", "b", "c", "d", "e"}),
        ("X=1 a 2>&1 >o; f() { b; }; f", {"a", "b"}),
        ("a 'b; c' \"d | e\"", {"a"}),
        ("echo x\ny", {"echo", "y"}),
    ],
)
def test_where_a_command_stands_in_shell_text(text: str, expected: set[str]) -> None:
    found = outside_of(JobScript((text,), "/j/out", "/j/tmp", shell=True), JobPaths({"/j": "job"}))
    assert found is not None and found.commands == expected


def test_names_outside_are_told_from_the_jobs_own() -> None:
    paths = JobPaths({"/w/j": "job", "/data/in.txt": "content in.txt"})
    command = ("tool", "--in=/data/in.txt", "-I/opt/lib", "/w/j/out/x", "/data/in.txt.bai", "s/a/b/")
    found = outside_of(JobScript(command, "/w/j/out", "/w/j/tmp", {"HOME": "/w/j/out", "PATH": "/p"}), paths)
    assert found == Outside(
        path="/p", words=frozenset({"tool"}), commands=frozenset({"tool"}),
        files=frozenset({"/opt/lib", "/data/in.txt.bai"}),
        variables=frozenset(),
    )  # fmt: skip


def test_paths_become_what_they_mean_and_texts_stay_apart() -> None:
    paths = JobPaths({"/w/j": "job", "/d/a": "A", "/d/a.b": "B"})
    texts = ["/w/j", "/w/j/x", "/w/jx", "x/d/a", "/d/a.b", "/d/a.c", "/d/b", "\0job\0", "\0A\0", "/d/a/d/a.b"]
    replaced = [paths.replace(text) for text in texts]
    assert replaced[:2] == ["\0job\0", "\0job\0/x"] and replaced[4] == "\0B\0" and replaced[9] == "\0A\0\0B\0"
    assert len(set(replaced)) == len(texts)
