# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The dialect of plain hosts as tables."""

from __future__ import annotations

import pytest

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.base import QueueView, Submission
from airflow_hybrid.schedulers.process import ProcessScheduler

PROCESS = ProcessScheduler()
ID, OTHER = "c8ab:10:99", "c8ab:11:98"


def test_what_is_alive_is_running() -> None:
    assert PROCESS.parse_status(f"#process\nR {ID}\n#rc 0\n", [ID, OTHER]) == {ID: QueueView(running=1)}


def test_an_answer_that_was_cut_off_says_nothing() -> None:
    with pytest.raises(StatusUnknownError):
        PROCESS.parse_status(f"#process\nR {ID}\n", [ID])
    assert not PROCESS.parse_account(f"#sessions\nG {ID} x\n", [ID]).complete


def test_a_session_without_processes_is_lost_with_its_reason() -> None:
    text = f"#sessions\nG {ID} the host was restarted\nR {OTHER}\n#rc 0\n"
    account = PROCESS.parse_account(text, [ID, OTHER])
    assert account.complete and account.elements[ID].state is JobState.LOST
    assert account.elements[ID].reason == "the host was restarted"
    assert account.elements[OTHER].state is JobState.RUNNING


def test_the_template_wraps_all_jobs_and_its_interpreter_runs_it() -> None:
    template = "#!/bin/bash -l\nmodule load gcc\n{{ streamflow_command }}\n"
    scripts = PROCESS.scripts(Submission(directory="/w x/T/a", name="n", jobs=2, template=template))
    assert scripts["batch.0.sh"] == "#!/bin/bash -l\nmodule load gcc\n/bin/sh '/w x/T/a/runner.sh'\n"
    assert scripts["launch.sh"].endswith("exec /bin/bash -l '/w x/T/a/batch.0.sh'\n")
