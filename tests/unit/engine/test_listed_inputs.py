# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the listing of a user's own directory names is looked at before it is used, as a File is."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import HybridError
from tests.unit.engine.execution import run_spec, spec_of

TOOL = """cwlVersion: v1.2
class: CommandLineTool
inputs: {folder: {type: Directory, loadListing: deep_listing}}
baseCommand: [ls, -R]
arguments: [$(inputs.folder.path)]
outputs: {said: stdout}
stdout: said
"""
RIGHT, WRONG = (f"sha1${hashlib.sha1(text).hexdigest()}" for text in (b"right", b"wrong"))
HINT = (
    "if the change is intended, clear the run's task `inputs` and all tasks after it. If Airflow's tasks run on several"
    f" machines: this machine ({socket.gethostname()}) must have the same file"
)


def remove(path: Path) -> None:
    path.unlink()


def rewrite(path: Path) -> None:
    path.write_bytes(b"wrong")


@pytest.mark.parametrize("place", ["local", "site"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            remove,
            "no longer exists\n  -> put it back, or start a run with other inputs. If Airflow's tasks run on several"
            f" machines: this machine ({socket.gethostname()}) must have the file, too",
        ),
        (
            rewrite,
            f"was changed after it was taken as an input of the run: its checksum is {WRONG}, not {RIGHT}\n  -> {HINT}",
        ),
    ],
)
def test_a_member_that_is_not_what_the_listing_says_is_told(
    tmp_path: Path, place: str, spoil: Callable[[Path], None], said: str
) -> None:
    (tmp_path / "tool.cwl").write_text(TOOL)
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True)
    member = inner / "f"
    member.write_bytes(b"right")
    file = {"class": "File", "location": member.as_uri(), "size": 5, "checksum": RIGHT}
    within = {"class": "Directory", "location": inner.as_uri(), "listing": [file]}
    folder = {"class": "Directory", "location": inner.parent.as_uri(), "listing": [within]}
    sites = {"site": {"type": "local", "config": {}, "workdir": f"{tmp_path}/site"}}

    def run(number: int, between: Callable[[], object]) -> None:
        identity = TaskIdentity("dag", f"run{number}", "tool", generation=0, origin="origin")
        spec = spec_of(tmp_path / "tool.cwl", {"folder": folder}, sites, {"/": {"target": place}}, identity)
        between()
        run_spec(replace(spec, reuse=False))

    run(1, lambda: None)
    with pytest.raises(HybridError) as error:
        run(2, lambda: spoil(member))
    assert str(error.value) == f"local (localhost): {member.as_uri()} {said}"
