# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""PBS's dialects as tables: recorded answers of a real OpenPBS 23.06, and Torque's by its manual pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.base import Account, QueueView, Submission
from airflow_hybrid.schedulers.pbs import _KEEP, PbsScheduler, TorqueScheduler
from tests.unit.schedulers.transcripts import filtered, pbs_text, recorded

PBS, TORQUE = PbsScheduler(), TorqueScheduler()
BATCH = Submission(directory="/home/u/w x/T/a", name="step-0123", jobs=3)


def queue(case: str, ids: list[str]) -> dict[str, QueueView]:
    return PBS.parse_status(f"#queue\n{filtered(_KEEP, pbs_text(case))}#rc 0\n", ids)


def finished(ids: list[str]) -> str:
    """What ``qstat -f`` says of jobs that have ended, without ``-x``."""
    lines = [f"qstat: {id_} Job has finished, use -x or -H to obtain historical job information\n" for id_ in ids]
    return "".join([*lines, "#exit 35\n"])


def account(case: str, ids: list[str], queued: str | None = None) -> Account:
    queued = finished(ids) if queued is None else queued
    accounting = filtered(_KEEP, pbs_text(case))
    return PBS.parse_account(f"#queue\n{queued}#rc 0\n#accounting\n{accounting}#rc 0\n", ids)


# --- qsub ---------------------------------------------------------------------------------------------------------


def test_nothing_is_requested_that_nobody_asked_for() -> None:
    assert PBS.arguments(BATCH, 0) == [
        "qsub", "-N", "step-0123", "-J", "0-2", "-S", "/bin/sh", "-o", "/dev/null", "-j", "oe",
        "-r", "y", "/home/u/w x/T/a/batch.0.sh",
    ]  # fmt: skip
    assert TORQUE.arguments(replace(BATCH, max_concurrent=2), 0)[3:5] == ["-t", "0-2%2"]
    assert "max_run_subjobs=2" in PBS.arguments(replace(BATCH, max_concurrent=2), 0)


def test_an_array_has_at_least_two_elements() -> None:
    large = replace(BATCH, jobs=7, max_array=3)
    assert [("-J" in PBS.arguments(large, part)) for part in range(3)] == [True, True, False]
    assert PBS.element_id(("5[].s", "6[].s", "7.s"), 7, 4, 3) == "6[1].s"
    assert PBS.element_id(("5[].s", "6[].s", "7.s"), 7, 6, 3) == "7.s"


@pytest.mark.parametrize("jobs", [1, 2])
def test_only_arrays_of_openpbs_may_be_run_again(jobs: int) -> None:
    one = replace(BATCH, jobs=jobs)
    words = PBS.arguments(one, 0)
    assert words[words.index("-r") + 1] == ("n" if jobs == 1 else "y") and PBS.restarts(one) is (jobs == 2)
    words = TORQUE.arguments(one, 0)
    assert words[words.index("-r") + 1] == "n"


def test_streamflow_s_options_are_qsub_s() -> None:
    options = {
        "account": "proj", "destination": "gpu@server", "priority": 5, "rerunnable": True, "exportAllVariables": True,
        "resources": {"select": "2:ncpus=4", "walltime": "01:00:00"}, "additionalAttributes": {"umask": "022"},
        "jobName": "mine", "file": "x", "begin": "1200", "mailOptions": "n",
    }  # fmt: skip
    words = PBS.native(options)
    assert words == [
        "-A", "proj", "-q", "gpu@server", "-p", "5", "-r", "y", "-V", "-l", "select=2:ncpus=4,walltime=01:00:00",
        "-W", "umask=022", "-a", "1200", "-m", "n",
    ]  # fmt: skip


def test_directives_of_a_template_win() -> None:
    template = "#!/bin/bash\n#PBS -l select=1:ncpus=8 -q long\n#PBS -o /home/u/out\n{{streamflow_command}}\n"
    explicit = replace(BATCH.resources, cores=2, explicit=frozenset({"cores"}))
    words = PBS.arguments(replace(BATCH, template=template, resources=explicit, walltime_s=20), 0)
    assert not [w for w in words if "select" in w or w in ("-o", "oe")] and "walltime=60" in words
    script = PBS.scripts(replace(BATCH, template=template))["batch.0.sh"].splitlines()
    assert script[3] == "exec >>'/home/u/w x/T/a/log' 2>&1" and script[4].startswith("/bin/sh ")


@pytest.mark.parametrize(
    ("case", "for_good"),
    [
        ("bad-name", True), ("bad-option", True), ("bad-queue", True), ("bad-select", True), ("bad-walltime", True),
        ("missing-script", True), ("over-queue-limit", True), ("queue-disabled", False), ("unknown-resource", True),
        ("unknown-resource-in-select", True),
    ],
)  # fmt: skip
def test_recorded_refusals_that_would_be_repeated(case: str, for_good: bool) -> None:
    assert PBS.refused_for_good(recorded("pbs", f"qsub-{case}")["stderr"]) is for_good


def test_a_credential_that_the_server_does_not_take_may_be_taken_later() -> None:
    assert not PBS.refused_for_good("qsub: Invalid credential")


# --- qstat --------------------------------------------------------------------------------------------------------


def test_an_array_counts_its_elements_itself() -> None:
    assert queue("array-parent-json", ["18[].pbs"]) == {"18[].pbs": QueueView(running=3)}


@pytest.mark.parametrize(
    ("case", "id_", "running", "reason"),
    [
        ("state-R-text", "12.pbs", 1, ""),
        ("state-E-json", "25.pbs", 1, ""),
        ("state-E-text", "25.pbs", 1, ""),
        ("state-Q-json", "13.pbs", 0, "Not Running: Not enough free nodes available"),
        ("state-H-json", "14.pbs", 0, "H"),
        ("state-W-json", "15.pbs", 0, "W"),
        ("odd-values-text", "23.pbs", 0, "H"),
        ("mom-down-running-job-json", "26.pbs", 1, ""),
        ("never-fits-json", "16.pbs", 0, "Can Never Run: Insufficient amount of resource: ncpus (R: 999 A: 8 T: 8)"),
    ],
)
def test_recorded_states(case: str, id_: str, running: int, reason: str) -> None:
    view = queue(case, [id_])[id_]
    assert (view.running, view.pending) == (running, 1 - running)
    if not running:
        assert view.reasons == (reason,)
        assert PBS.hopeless(reason) is ("never-fits" in case)
        assert bool(PBS.explain(reason)) is (case in ("state-H-json", "odd-values-text", "never-fits-json"))


def test_one_bad_id_among_many_hides_nothing() -> None:
    assert queue("ids-one-unknown-without-x-json", ["12.pbs", "99999.pbs", "8.pbs"]) == {"12.pbs": QueueView(running=1)}
    assert queue("unknown-id", ["99999.pbs"]) == {}
    assert queue("finished-ok-without-x", ["0.pbs"]) == {}
    assert queue("array-finished-subjob-without-x", ["18[].pbs"]) == {}


@pytest.mark.parametrize("case", ["server-down-qstat"])
def test_a_server_that_is_down_says_nothing(case: str) -> None:
    with pytest.raises(StatusUnknownError) as caught:
        queue(case, ["12.pbs"])
    assert str(caught.value) == (
        "pbs did not answer (exit code 255): { } Connection refused qstat: cannot connect to server pbs (errno=15010)"
    )
    with pytest.raises(StatusUnknownError):
        PBS.parse_status("#queue\nJob Id: 12.pbs\n    job_state = R\n#rc 0\n", ["12.pbs"])  # qstat was killed


def test_torque_s_states() -> None:
    text = (
        "#queue\nJob Id: 7[0].srv.example.org\n    job_state = R\n    exec_host = n1/0\nJob Id: 7[1].srv.example.org\n"
        "    job_state = Q\nJob Id: 7[2].srv.example.org\n    job_state = C\n    exit_status = -11\n#exit 0\n#rc 0\n"
    )
    assert PBS.parse_status(text, ["7[].srv"]) == {"7[].srv": QueueView(running=1, pending=1, reasons=("Q",))}
    assert PBS.parse_account(text + "#accounting\n#rc 0\n", ["7[].srv"]).elements["7[2].srv"].state is JobState.TIMEOUT
    unknown = "#queue\nqstat: Unknown Job Id Error 7[].srv\n#exit 153\n#rc 0\n"
    assert PBS.parse_status(unknown, ["7[].srv"]) == {}


# --- history ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "id_", "state", "said"),
    [
        ("finished-ok-json", "0.pbs", JobState.COMPLETED, "Exit_status 0"),
        ("finished-exit7-json", "8.pbs", JobState.FAILED, "Exit_status 7"),
        ("finished-signal9-json", "9.pbs", JobState.FAILED, "Exit_status 137"),
        ("finished-walltime-json", "11.pbs", JobState.TIMEOUT, "exceeded resource walltime"),
        ("finished-qdel-running-json", "12.pbs", JobState.CANCELLED, "terminated by pbsuser@pbs"),
        ("finished-qdel-held-json", "14.pbs", JobState.CANCELLED, "deleted before it ran"),
        ("depend-failed-json", "21.pbs", JobState.CANCELLED, "no exit status"),
        ("mom-down-forced-job-json", "26.pbs", JobState.CANCELLED, "terminated"),
    ],
)
def test_recorded_ends_keep_their_names(case: str, id_: str, state: JobState, said: str) -> None:
    found = account(case, [id_])
    assert found.complete and found.elements[id_].state is state and said in found.elements[id_].reason


def test_array_elements_have_states_of_their_own() -> None:
    elements = account("array-finished-subjobs-json", ["18[].pbs"]).elements
    assert [elements[f"18[{i}].pbs"].state for i in range(4)] == [
        JobState.COMPLETED, JobState.FAILED, JobState.FAILED, JobState.CANCELLED,
    ]  # fmt: skip
    half = account("array-subjobs-json", ["18[].pbs"]).elements
    assert (half["18[0].pbs"].state, half["18[1].pbs"].state) == (JobState.COMPLETED, JobState.RUNNING)


def test_without_history_the_queue_alone_is_complete() -> None:
    text = "qstat: PBS Server job_history_enable is set to false\n#exit 36\n"
    found = PBS.parse_account(
        f"#queue\nqstat: Unknown Job Id 5.pbs\n#exit 153\n#rc 0\n#accounting\n{text}#rc 0\n", ["5.pbs"]
    )
    assert found.complete and not found.elements


def test_a_server_that_is_down_leaves_the_account_open() -> None:
    down = filtered(_KEEP, pbs_text("server-down-qstat"))
    found = account("server-down-qstat", ["5.pbs"], queued=down)
    assert not found.complete and "Connection refused" in found.problem


@pytest.mark.parametrize("scheduler", [PBS, TORQUE])
@pytest.mark.parametrize(("said", "untold"), [("", "5.s 7[].s"), ("qstat: Unknown Job Id 5.s\n", "7[].s")])
def test_a_server_that_says_nothing_of_a_job_has_not_said_that_it_is_gone(
    scheduler: PbsScheduler, said: str, untold: str
) -> None:
    text = f"#queue\n{said}#exit {153 if said else 0}\n#rc 0\n"
    problem = f"{scheduler.name} did not answer (exit code 0): it said nothing of {untold}"
    with pytest.raises(StatusUnknownError) as error:
        scheduler.parse_status(text, ["5.s", "7[].s"])
    assert str(error.value) == problem
    found = scheduler.parse_account(f"{text}#accounting\n#exit 0\n#rc 0\n", ["5.s", "7[].s"])
    assert found == Account({}, False, problem, heard=False)


def test_odd_numbers_do_no_harm() -> None:
    text = "#queue\nJob Id: 5.s\n    job_state = F\n    Exit_status = 9e99\n#exit 0\n#rc 0\n#accounting\n#rc 0\n"
    assert PBS.parse_account(text, ["5.s"]).elements["5.s"].state is JobState.CANCELLED


def test_a_runner_s_claim_is_its_element() -> None:
    assert PBS.claimed_id("18[3].pbs.example.org", ["17[].pbs", "18[].pbs"]) == "18[3].pbs"
    assert PBS.claimed_id("19.pbs", ["19.pbs"]) == "19.pbs"
    assert PBS.array_id("18[3].pbs") == "18[].pbs"


def test_the_largest_array_is_the_server_s() -> None:
    assert PBS.parse_max_array("Server: pbs\n    max_array_size = 10000\n") == 10000
    assert PBS.parse_max_array("    max_job_array_size = 500\n") == 500
