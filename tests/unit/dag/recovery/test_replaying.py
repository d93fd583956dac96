# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files that are lost while a run needs them are made again, by exactly the jobs that made them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.errors import ConfigError
from tests.raising import raising

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.slow


def _runs(folder: Path, *names: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.unit.dag.recovery.replaying", str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    seen: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What ran, and what came out, in the runs of :mod:`tests.unit.dag.recovery.replaying`."""
    yield _runs(
        tmp_path_factory.mktemp("replaying"), "purged", "outputs", "fused", "off", "kept", "kept_tree", "kept_fused"
    )


def _again(ran: list[str]) -> dict[str, int]:
    """How often jobs ran besides the first time."""
    return {job: times - 1 for job, times in sorted(Counter(ran).items()) if times > 1}


def test_a_purge_between_two_steps_is_made_good_by_the_jobs_that_are_needed(seen: dict[str, Any]) -> None:
    run = seen["purged"]
    assert (run["states"], run["errors"]) == (["success"], [])
    assert _again(run["ran"]) == {f"{step} {name}": 1 for step in ("first", "second") for name in "abcd"}
    assert run["outputs"] == {f"used_{name}.txt": f"{name.upper()}\n" for name in "abcd"}


def test_an_output_that_was_changed_is_made_again_for_the_last_task(seen: dict[str, Any]) -> None:
    run = seen["outputs"]
    assert (run["states"], run["errors"]) == (["success"], [])
    assert _again(run["ran"]) == {"second c": 1}
    # another content than the first time, as its checksum says
    assert {name: text[:2] for name, text in run["outputs"].items()} == {f"{n}.txt": f"{n.upper()}\n" for n in "abcd"}


def test_the_report_and_the_record_beside_the_outputs_tell_what_was_made_again(seen: dict[str, Any]) -> None:
    run = seen["outputs"]
    (again,) = run["report"]["made_again"]
    reason = "1 job ran again, because outputs missed 1 file; 1 file with another content than before"
    assert (again["missed_by"], again["reason"]) == ("outputs", reason)
    (file,) = run["report"]["renewed"]
    assert (file["task"], file["missed_by"]) == (again["task"], "outputs")
    assert file["before"].endswith("/c.txt") and file["now"].endswith("/c.txt") and file["before"] != file["now"]
    (action,) = run["record"]
    assert (action["name"], action["description"]) == (f"Made again: {again['task']}", reason)
    assert action["result"] == [{"@id": file["now"]}] and action["instrument"]["@id"].startswith("packed.cwl#")


def test_of_steps_that_share_a_task_only_those_run_again_whose_files_are_missed(seen: dict[str, Any]) -> None:
    run = seen["fused"]
    assert (run["states"], run["errors"]) == (["success"], [])
    assert _again(run["ran"]) == {"first d": 1, "second a": 1, "second d": 1}
    assert run["outputs"] == {f"used_{name}.txt": f"{name.upper()}\n" for name in "abcd"}


def test_after_a_purge_what_has_checkpoints_is_put_back_and_no_job_runs_again(seen: dict[str, Any]) -> None:
    run = seen["kept"]
    assert (run["states"], run["errors"], _again(run["ran"])) == (["success"], [], {})
    assert run["outputs"] == {f"used_{name}.txt": f"{name.upper()}\n" for name in "abcd"}


def test_folders_programs_and_files_of_the_same_content_are_put_back_as_they_were(seen: dict[str, Any]) -> None:
    run = seen["kept_tree"]
    assert (run["states"], run["errors"], run["ran"]) == (["success"], [], ["first"])
    assert run["outputs"] == {"used.txt": "RAN\nB\necho RAN\nB\n"}


def test_of_steps_that_share_a_task_only_what_the_task_publishes_is_kept(seen: dict[str, Any]) -> None:
    run = seen["kept_fused"]
    assert (run["states"], run["errors"], _again(run["ran"])) == (["success"], [], {})
    assert run["kept"] == [f"{name}\n" for name in "ABCD"]


def test_without_replay_the_error_says_which_task_to_clear(seen: dict[str, Any]) -> None:
    run = seen["off"]
    assert (run["states"], _again(run["ran"])) == (["failed", "success", "upstream_failed"], {})
    (error,) = run["errors"]
    first, hint = error.splitlines()
    assert first.startswith("here (localhost): hybrid://here/localhost/") and first.endswith("/b.txt no longer exists")
    assert hint.startswith("  -> it was made by task second of run ") and hint.endswith(
        "clear that task to make it again"
    )


@pytest.mark.long
def test_in_one_batch_and_in_scattered_sub_workflows_single_jobs_run_again(tmp_path: Path) -> None:
    seen = _runs(tmp_path, "one", "nested")
    assert [run["states"] for run in seen.values()] == [["success"], ["success"]]
    assert _again(seen["one"]["ran"]) == {"first b": 1, "second b": 1}
    assert _again(seen["nested"]["ran"]) == {"second b": 1}


@pytest.mark.long
def test_jobs_that_have_no_checkpoint_run_again_from_the_checkpoints_of_their_inputs(tmp_path: Path) -> None:
    run = _runs(tmp_path, "kept_first")["kept_first"]
    assert (run["states"], run["errors"]) == (["success"], [])
    assert _again(run["ran"]) == {f"second {name}": 1 for name in "abcd"}


@pytest.mark.long
def test_what_is_lost_again_is_made_once_more_and_finished_jobs_of_the_same_task_stay(tmp_path: Path) -> None:
    seen = _runs(tmp_path, "twice", "all")
    assert [(run["states"], run["errors"]) for run in seen.values()] == [(["success"], [])] * 2
    assert _again(seen["twice"]["ran"]) == {"first b": 2}
    assert seen["twice"]["outputs"] == {"used_b.txt": "B\n"}
    assert _again(seen["all"]["ran"]) == {f"second {name}": 1 for name in "abcd"}


@pytest.mark.long
def test_a_file_that_was_updated_in_place_is_not_replaced_by_the_one_before_that(tmp_path: Path) -> None:
    run = _runs(tmp_path, "updated")["updated"]
    assert (run["states"], _again(run["ran"])) == (["failed", "success", "upstream_failed"], {})
    assert "use b" not in run["ran"]
    (error,) = run["errors"]
    first, hint = error.splitlines()
    assert first.endswith("/b.txt no longer exists")
    assert hint.startswith("  -> it was made by task first of run ")


@pytest.mark.parametrize("replay", [0, -1, 101, True, "never", None])
def test_a_wrong_number_is_refused(tmp_path: Path, replay: object) -> None:
    (tmp_path / "t.cwl").write_text(
        "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}"
    )
    wrong = f"{__file__}: `recovery: {{replay: ...}}` is {replay!r}, but must be a number from 1 to 100, or `off`"
    with raising(ConfigError, wrong):
        HybridDag(str(tmp_path / "t.cwl"), recovery={"replay": replay})
