# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a run's files are at a location."""

from __future__ import annotations

import pytest

from airflow_hybrid.model.task_folders import RUN_FOLDER, run_folder


@pytest.mark.parametrize("run_id", ["manual__2026-11-25T07:15:10.148477+00:00", "v1.2", "-x", "../..", "a b"])
def test_a_runs_folder_has_no_dot_that_a_document_could_cut_a_path_at(run_id: str) -> None:
    folder = run_folder("a.dag", run_id)
    assert RUN_FOLDER.fullmatch(folder)
    assert "." not in folder


def test_names_that_differ_stay_apart() -> None:
    assert len({run_folder("d", name) for name in ("a.b", "a_b", "a:b", "a-b")}) == 4
