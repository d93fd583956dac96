# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Slurm's dialect as tables: what is asked of sbatch, and recorded answers of a real Slurm 22.05."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.errors import ConfigError, StatusUnknownError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Submission, interpreter, render
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.schedulers.slurm_answers import STATES
from airflow_hybrid.schedulers.words import count_tasks, kebab, option

RECORDINGS = Path(__file__).parent / "recordings" / "slurm"
SLURM = SlurmScheduler()
BATCH = Submission(directory="/home/u/w x/T/a", name="step-0123", jobs=3)


FORGOTTEN = "#scontrol\n#said\nslurm_load_jobs error: Invalid job id specified\n#rc 1\n"
"""what the controller says of a job that it does not have any more"""


def recorded(case: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((RECORDINGS / f"{case}.yaml").read_text())
    return found


def columns(case: str, wanted: str) -> str:
    """The rows of a recorded table with other columns: those of our own command."""
    answer = recorded(case)
    named = re.search(r"-o '?([^' ]+)", answer["command"])
    assert named
    given = named[1].split("|" if "|" in named[1] else ",")
    rows = [dict(zip(given, line.split("|"), strict=True)) for line in answer["stdout"].splitlines()]
    for row in rows:
        row.setdefault("%F", row.get("%i", "").partition("_")[0])
        row.setdefault("%K", "N/A")
    return "".join("|".join(row.get(name, "") for name in wanted.split("|")) + "\n" for row in rows)


def queue_answer(case: str) -> str:
    answer = recorded(case)
    table = columns(case, "%F|%K|%T|%r") if answer["stdout"] else ""
    return f"#queue\n{table}#said\n{answer['stderr']}#rc {answer['exit_code']}\n"


def account_answer(case: str, *, queued: str = "#queue\n#rc 0\n", scontrol: bool = True) -> str:
    accounting = recorded(f"{case}-sacct")
    table = columns(f"{case}-sacct", "JobID|State|ExitCode|NodeList") if accounting["stdout"] else ""
    text = f"{queued}#sacct\n{table}#said\n{accounting['stderr']}#rc {accounting['exit_code']}\n"
    if scontrol and (RECORDINGS / f"{case}-scontrol.yaml").exists():
        shown = recorded(f"{case}-scontrol")
        blocks = re.split(r"\n\s*\n", shown["stdout"])
        table = "".join(" ".join(block.split()) + "\n" for block in blocks)
        return f"{text}#scontrol\n{table}#said\n{shown['stderr']}#rc {shown['exit_code']}\n"
    return text + FORGOTTEN


# --- sbatch -------------------------------------------------------------------------------------------------------


def words(submission: Submission, part: int = 0) -> list[str]:
    return SLURM.arguments(submission, part)


def test_nothing_is_requested_that_nobody_asked_for() -> None:
    assert words(BATCH) == [
        "sbatch", "--parsable", "--job-name=step-0123", "--array=0-2", "--output=/home/u/w x/T/a/log",
        "--open-mode=append", "--chdir=/home/u/w x/T/a", "--no-requeue", "/home/u/w x/T/a/batch.0.sh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "walltime_s", "expected"),
    [
        (Resources(cores=1.2, explicit=frozenset({"cores"})), None, ["--cpus-per-task=2"]),
        (Resources(cores=0.1, explicit=frozenset({"cores"})), None, ["--cpus-per-task=1"]),
        (Resources(ram_mib=1025, explicit=frozenset({"ram_mib"})), None, ["--mem=1025M"]),
        (Resources(cores=8, ram_mib=9), None, []),
        (Resources(), 60, ["--time=2"]),
        (Resources(), 3600, ["--time=61"]),
    ],
)
def test_explicit_resources_become_native_requests(
    resources: Resources, walltime_s: int | None, expected: list[str]
) -> None:
    asked = words(replace(BATCH, resources=resources, walltime_s=walltime_s))
    assert [w for w in asked if w not in words(BATCH)] == expected


@pytest.mark.parametrize(
    ("options", "words_"),
    [
        ({"account": "proj", "qos": "long"}, ["--account=proj", "--qos=long"]),
        ({"cpusPerTask": 4, "mem": "2G", "time": "1:00"}, ["--cpus-per-task=4", "--mem=2G", "--time=1:00"]),
        ({"exclusive": True, "overcommit": False, "gres": None}, ["--exclusive"]),
        ({"exclusive": "user"}, ["--exclusive=user"]),
        ({"ignorePBS": True, "get_user_env": True}, ["--ignore-pbs", "--get-user-env"]),
        ({"someNewOption": ["a", 1]}, ["--some-new-option=a,1"]),
        ({"array": "1-9", "jobName": "mine", "file": "x"}, []),
    ],
)
def test_native_options_are_passed_through_and_win(options: dict[str, Any], words_: list[str]) -> None:
    explicit = (
        Resources(cores=2, ram_mib=5, explicit=frozenset({"cores", "ram_mib"})) if "mem" in options else Resources()
    )
    asked = words(replace(BATCH, options=options, resources=explicit, walltime_s=9 if "time" in options else None))
    assert [w for w in asked if w not in words(BATCH)] == words_


@pytest.mark.parametrize("options", [{"requeue": True}, {"noRequeue": True}])
def test_requeue_is_off_unless_asked_for(options: dict[str, Any]) -> None:
    asked = words(replace(BATCH, options=options))
    assert [w for w in asked if "requeue" in w] == [option(kebab(k), v)[0] for k, v in options.items()]
    assert SLURM.restarts(replace(BATCH, options=options)) is ("requeue" in options)


def test_arrays_respect_the_sites_limit_and_the_users() -> None:
    large = replace(BATCH, jobs=1100, max_array=500, max_concurrent=7)
    assert SLURM.parts(large) == 3
    assert [w for part in range(3) for w in words(large, part) if w.startswith(("--array", "--job"))] == [
        "--job-name=step-0123.0", "--array=0-499%7", "--job-name=step-0123.1", "--array=0-499%7",
        "--job-name=step-0123.2", "--array=0-99%7",
    ]  # fmt: skip
    assert SLURM.element_id(("7", "8", "9;c"), 1100, 1001, 500) == "9_1;c"
    assert SLURM.element_id(("7",), 1, 0, 500) == "7"
    assert SLURM.parse_max_array("MaxArraySize            = 1001\n") == 1000


def test_a_single_job_is_no_array() -> None:
    assert not [w for w in words(replace(BATCH, jobs=1)) if "array" in w]


@pytest.mark.parametrize(
    ("case", "for_good"),
    [
        ("array-too-big", True), ("bad-account", True), ("bad-memory", True), ("bad-node", True), ("bad-option", True),
        ("bad-partition", True), ("bad-time", True), ("too-much-memory", True), ("missing-script", True),
    ],
)  # fmt: skip
def test_recorded_refusals_that_would_be_repeated(case: str, for_good: bool) -> None:
    assert SLURM.refused_for_good(recorded(f"sbatch-{case}")["stderr"]) is for_good


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
    ],
)
def test_refusals_that_may_pass(said: str) -> None:
    assert not SLURM.refused_for_good(said)


# --- squeue -------------------------------------------------------------------------------------------------------


def test_a_running_array_is_counted_by_elements() -> None:
    views = SLURM.parse_status(queue_answer("array-running-squeue"), ["20", "99"])
    assert views == {"20": QueueView(running=2, pending=1, reasons=("JobArrayTaskLimit",))}


def test_pending_elements_in_one_line_are_counted() -> None:
    text = "#queue\n20|3-9,12-20:4%2|PENDING|Resources\n21|4,7,9-...|PENDING|Priority\n#rc 0\n"
    views = SLURM.parse_status(text, ["20", "21"])
    assert views["20"].pending == 10 and views["21"].pending >= 2
    assert count_tasks("N/A") == 1


def test_a_controller_that_does_not_answer_says_nothing() -> None:
    with pytest.raises(StatusUnknownError) as caught:
        SLURM.parse_status(queue_answer("slurmctld-down-squeue"), ["24"])
    assert str(caught.value) == (
        "slurm did not answer (exit code 1): "
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    )
    with pytest.raises(StatusUnknownError):
        SLURM.parse_status("#queue\n24|N/A|RUNNING|None\n", ["24"])  # cut off
    with pytest.raises(StatusUnknownError):
        SLURM.parse_status("", ["24"])


def test_jobs_that_ended_are_not_in_the_queue() -> None:
    for case in ("timeout", "node-fail", "completed", "cancelled-running"):
        text = queue_answer(f"{case}-squeue")
        id_ = text.splitlines()[1].partition("|")[0]
        assert SLURM.parse_status(text, [id_]) == {}


@pytest.mark.parametrize(
    ("case", "words_"),
    [
        ("pending-held", "scontrol release"),
        ("pending-partition-time-limit", "more time than the partition allows"),
        ("dependency-never-satisfied", "never start"),
        ("pending-resources", ""),
    ],
)
def test_recorded_pending_reasons_are_explained_where_they_do_not_pass(case: str, words_: str) -> None:
    text = queue_answer(f"{case}-squeue")
    id_ = text.splitlines()[1].partition("|")[0]
    (view,) = SLURM.parse_status(text, [id_]).values()
    assert view.pending == 1
    explained = SLURM.explain(view.reasons[0])
    assert words_ in explained and bool(explained) is bool(words_)


@pytest.mark.parametrize(
    "reason", ["AssocGrpCpuLimit", "QOSMaxWallDurationPerJobLimit", "PartitionConfig", "JobHeldAdmin"]
)
def test_limits_are_explained(reason: str) -> None:
    assert SLURM.explain(reason).startswith(f"{reason}: ")


# --- accounting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scontrol", [True, False])
@pytest.mark.parametrize(
    ("case", "id_", "state", "said"),
    [
        ("timeout", "2", JobState.TIMEOUT, "TIMEOUT"),
        ("node-fail", "27", JobState.NODE_FAIL, "node2"),
        ("cancelled-pending", "16", JobState.CANCELLED, "CANCELLED"),
        ("cancelled-running", "14", JobState.CANCELLED, "CANCELLED"),
        ("failed-exit7", "11", JobState.FAILED, "exit code 7:0"),
        ("memory-exceeded-polled", "19", JobState.FAILED, "exit code 0:9"),
        ("out-of-memory", "30", JobState.OUT_OF_MEMORY, "exit code 0:125"),
        ("completed", None, JobState.COMPLETED, "COMPLETED"),
        ("output-folder-missing", "13", JobState.FAILED, "exit code 0:53"),
    ],
)
def test_recorded_ends_keep_their_names(case: str, id_: str | None, state: JobState, said: str, scontrol: bool) -> None:
    text = account_answer(case, scontrol=scontrol)
    id_ = id_ or text.split("#sacct\n")[1].partition("|")[0]
    account = SLURM.parse_account(text, [id_])
    assert account.complete and account.elements[id_].state is state and said in account.elements[id_].reason


def test_array_elements_have_states_of_their_own() -> None:
    account = SLURM.parse_account(account_answer("array-finished"), ["20"])
    assert [account.elements[f"20_{i}"].state for i in range(4)] == [
        JobState.COMPLETED, JobState.FAILED, JobState.FAILED, JobState.CANCELLED,
    ]  # fmt: skip


def test_elements_that_never_started_are_one_row() -> None:
    text = "#queue\n#rc 0\n#sacct\n20_[3-5%2]|CANCELLED by 7|0:0|None assigned\n#rc 0\n" + FORGOTTEN
    account = SLURM.parse_account(text, ["20"])
    assert {i: e.state for i, e in account.elements.items()} == dict.fromkeys(
        ("20_3", "20_4", "20_5"), JobState.CANCELLED
    )


def test_a_database_that_is_down_leaves_the_account_open() -> None:
    account = SLURM.parse_account(account_answer("slurmdbd-down"), ["24"])
    assert not account.complete and "Connection refused" in account.problem
    disabled = "#queue\n#rc 0\n#sacct\nSlurm accounting storage is disabled\n#rc 1\n" + FORGOTTEN
    assert SLURM.parse_account(disabled, ["24"]).complete


def test_a_controller_that_is_down_leaves_the_account_open() -> None:
    text = account_answer("forgotten", queued=queue_answer("slurmctld-down-squeue"))
    account = SLURM.parse_account(text, ["11"])
    assert not account.complete and account.elements["11"].state is JobState.FAILED


@pytest.mark.parametrize(
    ("controller", "problem"),
    [
        ("#said\nslurm_load_jobs error: Unable to contact slurm controller (connect failure)\n#rc 1\n",
         "scontrol: slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
        ("#rc 137\n", "scontrol: no answer in time"),
        ("#rc 1\n", "scontrol: no answer"),
        ("", "scontrol: no answer"),
        ("#rc 0\n", "scontrol: no answer"),  # no error, and not a word of the job
        ("#said\nslurm_load_jobs error: Invalid job id specified\nslurm_load_jobs error: Socket timed out\n#rc 1\n",
         "scontrol: slurm_load_jobs error: Invalid job id specified slurm_load_jobs error: Socket timed out"),
    ],
)  # fmt: skip
def test_alive_in_the_accounting_is_alive_while_the_controller_does_not_answer(controller: str, problem: str) -> None:
    text = f"#queue\n#rc 0\n#sacct\n5|RUNNING|0:0|node1\n#rc 0\n#scontrol\n{controller}"
    running = {"5": ElementState(JobState.RUNNING, "RUNNING, on node1", node="node1")}
    assert SLURM.parse_account(text, ["5"]) == Account(running, False, problem, heard=False)


def test_the_controller_s_word_ends_a_stale_accounting() -> None:
    text = "#queue\n#rc 0\n#sacct\n5|RUNNING|0:0|node1\n#rc 0\n" + FORGOTTEN
    stale = {"5": ElementState(JobState.UNKNOWN, "accounting: RUNNING, on node1")}
    assert SLURM.parse_account(text, ["5"]) == Account(stale, True)


def test_the_queue_wins_over_an_accounting_that_lags() -> None:
    requeued = SLURM.parse_account(
        account_answer("node-fail-requeued", queued=queue_answer("node-fail-requeued-squeue")), ["28"]
    )
    assert requeued.elements["28"].state is JobState.PENDING
    lagging = "#queue\n#rc 0\n#sacct\n5|RUNNING|0:0|node1\n#rc 0\n" + FORGOTTEN
    assert SLURM.parse_account(lagging, ["5"]).elements["5"].state is JobState.UNKNOWN


def test_every_documented_state_has_a_meaning_and_others_are_unknown() -> None:
    documented = """BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PENDING
        PREEMPTED RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED RESIZING REVOKED SIGNALING SPECIAL_EXIT
        STAGE_OUT STOPPED SUSPENDED TIMEOUT"""
    assert set(documented.split()) <= set(STATES)
    text = "#queue\n#rc 0\n#sacct\n5|NEW_IN_2030|0:0|node1\n#rc 0\n" + FORGOTTEN
    assert SLURM.parse_account(text, ["5"]).elements["5"].state is JobState.UNKNOWN


def test_other_clusters_are_asked_by_name() -> None:
    command = SLURM.account_command(["5;east", "6;east"])
    assert "squeue -h -M east " in command and "sacct -n -X -P -M east -j 5,6 " in command
    text = "#queue\nCLUSTER: east\n#rc 0\n#saccteast\n5|TIMEOUT|0:0|n1\n#rc 0\n#scontroleast\n#rc 1\n"
    assert SLURM.parse_account(text, ["5;east"]).elements["5;east"].state is JobState.TIMEOUT


# --- templates ----------------------------------------------------------------------------------------------------

MAY_USE = (
    "  -> it may use: cores, hybrid_command, hybrid_environment, hybrid_workdir, job_name, jobs, memory_mib, "
    "streamflow_command, streamflow_environment, streamflow_workdir, walltime_s"
)


def test_streamflows_template_variables_are_filled_in() -> None:
    template = (
        "#SBATCH -t 5\ncd {{ streamflow_workdir }}\n{{ streamflow_environment }} && {{streamflow_command}} {{cores}}"
    )
    text = render(replace(BATCH, template=template, environment="export A=1"), "/bin/sh r.sh")
    assert text == "#!/bin/sh\n#SBATCH -t 5\ncd /home/u/w x/T/a\nexport A=1 && /bin/sh r.sh 1"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("#!/bin/sh\n", "the template never uses {{ streamflow_command }}, so it would run nothing"),
        (
            "{{streamflow_command}}\n{{ nosuch }}",
            f"the template of the service cannot be filled in: 'nosuch' is undefined\n{MAY_USE}",
        ),
        (
            "{{streamflow_command",
            "template, line 1: the template of the service cannot be filled in: unexpected end of template, expected "
            f"'end of print statement'.\n{MAY_USE}",
        ),
    ],
)
def test_templates_that_cannot_work_are_refused(template: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render(replace(BATCH, template=template), "x")
    assert str(caught.value) == message


def test_a_template_reaches_nothing_of_this_process() -> None:
    with pytest.raises(ConfigError):
        render(replace(BATCH, template="{{streamflow_command}}{{ ''.__class__.__mro__ }}"), "x")


def test_interpreter_of_a_script() -> None:
    assert interpreter("#!/usr/bin/env -S bash -l\nx") == ["/usr/bin/env", "-S bash -l"]
    assert interpreter("echo") == ["/bin/sh"]


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        ({}, "n1,n2"),
        ({"exclude": "bad1"}, "bad1,n1,n2"),
        ({"exclude": ["bad1", "bad2"]}, "bad1,bad2,n1,n2"),
        ({"template": "#!/bin/sh\n#SBATCH --exclude=bad1\n{{ hybrid_command }}\n"}, "bad1,n1,n2"),
        ({"template": "#!/bin/sh\n#SBATCH -x bad[1-2]\n{{ hybrid_command }}\n"}, "bad[1-2],n1,n2"),
    ],
)
def test_nodes_are_left_out_in_addition_to_those_of_the_deployment(options: dict[str, Any], nodes: str) -> None:
    assert SlurmScheduler().without_nodes(options, ["n1", "n2"]) == {**options, "exclude": nodes}


@pytest.mark.parametrize(("said", "node"), [("n1", "n1"), ("", "n1.example.org"), ("n1 oom=1", "n1.example.org")])
def test_a_node_has_the_name_by_which_jobs_can_be_kept_off_it(said: str, node: str) -> None:
    text = f"ah_node=n1.example.org\n{SlurmScheduler().element}echo $ah_node"
    told = subprocess.run(["sh", "-c", text], env={"SLURMD_NODENAME": said}, capture_output=True, text=True, check=True)
    assert told.stdout == f"{node}\n"
