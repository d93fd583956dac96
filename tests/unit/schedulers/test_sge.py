# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Grid Engine's dialect as tables: what is asked of qsub, and recorded answers of a real Grid Engine 8.1.9."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from airflow_hybrid.errors import ConfigError, StatusUnknownError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.base import Account, ElementState, QueueView, Submission
from airflow_hybrid.schedulers.sge import SgeScheduler
from tests.unit.schedulers.transcripts import filtered, recorded

SGE = SgeScheduler()
BATCH = Submission(directory="/home/u/w x/T/a", name="step-0123", jobs=3)


def unknown(*ids: str) -> str:
    """What ``qstat -j`` says of jobs that have ended."""
    exits = "#exit 1\n" * len(ids)
    said = "".join(f"Following jobs do not exist: \n{id_}\n" for id_ in ids)
    return f"#jobs\n{exits}\n#said\n{said}#rc 0\n"


def queue(case: str, ids: list[str], more: str = "") -> dict[str, QueueView]:
    answer = recorded("sge", case)
    text = f"#queue\n{answer['stdout']}{more}#said\n{answer['stderr']}#rc {answer['exit_code']}\n"
    return SGE.parse_status(text, ids)


def account(case: str, id_: str) -> Account:
    answer = recorded("sge", case)
    keep = re.search(r"\| (sed .*)", SGE.ask_accounting([id_]))
    assert keep
    text = filtered(keep[1], f"{answer['stdout']}#exit {answer['exit_code']}\n")
    return SGE.parse_account(f"#queue\n#rc 0\n#accounting\n{text}#said\n{answer['stderr']}#rc 0\n{unknown(id_)}", [id_])


def test_nothing_is_requested_that_nobody_asked_for() -> None:
    assert SGE.arguments(BATCH, 0) == [
        "qsub", "-terse", "-N", "step-0123", "-t", "1-3", "-o", "/dev/null", "-j", "y", "-r", "n", "-S", "/bin/sh",
        "-w", "e", "/home/u/w x/T/a/batch.0.sh",
    ]  # fmt: skip
    assert "-t" not in SGE.arguments(replace(BATCH, jobs=1), 0)
    assert SGE.arguments(replace(BATCH, max_concurrent=2), 0)[6:8] == ["-tc", "2"]


def test_several_slots_need_a_parallel_environment() -> None:
    two = replace(BATCH, resources=Resources(cores=1.5, explicit=frozenset({"cores"})))
    with pytest.raises(ConfigError) as caught:
        SGE.arguments(two, 0)
    assert str(caught.value) == (
        "the step asks for 2 slots, for which Grid Engine needs a parallel environment\n"
        "  -> name one in the service: `pe: <name>` (`qconf -spl` lists them)"
    )
    words = SGE.arguments(replace(two, options={"pe": "smp"}), 0)
    assert words[words.index("-pe") :][:3] == ["-pe", "smp", "2"]
    words = SGE.arguments(replace(two, options={"pe": "smp 8"}), 0)
    assert words[words.index("-pe") :][:3] == ["-pe", "smp", "8"] and words.count("-pe") == 1
    assert "-pe" not in SGE.arguments(replace(two, template="#$ -pe smp 4\n{{streamflow_command}}"), 0)


def test_options_of_a_service_are_qsub_s() -> None:
    options = {"queue": "all.q", "project": "p", "resources": {"h_rt": 60, "gpu": 1}, "rerunnable": True, "l": "x=1"}
    assert SGE.native(options) == ["-q", "all.q", "-P", "p", "-l", "h_rt=60,gpu=1", "-r", "y", "-l", "x=1"]
    limited = replace(BATCH, options=options, walltime_s=9, resources=Resources(gpus=2))
    assert not [w for w in SGE.arguments(limited, 0) if w.startswith(("h_rt=49", "gpu=2"))]


@pytest.mark.parametrize(
    ("case", "for_good"),
    [
        ("qsub-bad-name", True), ("qsub-bad-option", True), ("qsub-bad-pe", True), ("qsub-bad-queue", True),
        ("qsub-bad-time", True), ("qsub-missing-script", True), ("qsub-unknown-resource", True),
        ("qsub-verify-bad-queue", True), ("qsub-verify-too-big", True),
    ],
)  # fmt: skip
def test_recorded_refusals_that_would_be_repeated(case: str, for_good: bool) -> None:
    assert SGE.refused_for_good(recorded("sge", case)["stderr"]) is for_good


def test_recorded_states() -> None:
    views = queue("states-qstat", ["16", "17", "18", "19", "99"])
    assert views == {
        "16": QueueView(running=1),
        "17": QueueView(pending=1, reasons=("qw",)),
        "18": QueueView(pending=1, reasons=("hqw",)),
        "19": QueueView(pending=1, reasons=("qw",)),
    }
    assert SGE.explain("hqw") == (
        "hqw: it is on hold: `qrls JOB` at the site releases it; where an administrator holds it, ask them"
    )
    assert SGE.explain("qw") == ""
    assert queue("array-running-qstat", ["24"]) == {"24": QueueView(running=2, pending=2, reasons=("qw",))}
    assert queue("qstat-empty", ["24"]) == {}


def test_the_error_state_never_ends_by_itself_and_has_the_site_s_reason() -> None:
    keep = re.search(r"sed -n '(s/\^job_number.*?)'", SGE.ask_queue(["11"]))
    assert keep
    more = filtered(f"sed -n '{keep[1]}'", recorded("sge", "error-state-qstat-j")["stdout"])
    (view,) = queue("error-state-qstat", ["11"], more).values()
    why = "Eqw 11/22/2026 11:59:07 [30014:2050]: error: can't chdir to /nosuch: No such file or directory"
    assert view == QueueView(pending=1, reasons=(why,))
    assert SGE.hopeless(why)
    assert SGE.explain(why) == (
        f"{why}: the node that was to run it does not have the folder /nosuch: is `workdir` of the deployment on a file"
        " system that all nodes share? `qmod -cj JOB` lets it try again"
    )
    assert not SGE.hopeless("qw") and not SGE.hopeless("hqw")


def test_a_qmaster_that_is_down_says_nothing() -> None:
    with pytest.raises(StatusUnknownError) as caught:
        queue("qmaster-down-qstat", ["16"])
    assert str(caught.value) == (
        "sge did not answer (exit code 1): error: commlib error: got select error (Connection refused) error: unable "
        'to send message to qmaster using port 6444 on host "grid": got send error'
    )


@pytest.mark.parametrize(
    ("case", "id_", "state", "said"),
    [
        ("finished-ok-qacct", "2", JobState.COMPLETED, "exit status 0 on grid"),
        ("finished-exit7-qacct", "12", JobState.FAILED, "exit status 7 on grid"),
        (
            "finished-h_rt-qacct",
            "21",
            JobState.TIMEOUT,
            "qmaster enforced h_rt, h_cpu, or h_vmem limit, exit status 137 (Killed) on grid",
        ),
        ("finished-h_vmem-qacct", "4", JobState.FAILED, "exit status 1 on grid"),
        (
            "finished-qdel-running-qacct",
            "16",
            JobState.CANCELLED,
            "assumedly after job, exit status 137 (Killed) on grid",
        ),
        ("finished-exit99-requeue-qacct", "14", JobState.COMPLETED, "exit status 0 on grid"),
    ],
)
def test_recorded_ends_keep_their_names(case: str, id_: str, state: JobState, said: str) -> None:
    found = account(case, id_)
    exited = state is JobState.FAILED  # with an exit code of its own
    assert found.complete and found.elements[id_] == ElementState(state, said, exited)


def test_a_memory_limit_has_its_name() -> None:
    text = (
        "hostname     n1\njobnumber    5\ntaskid       3\n"
        "failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit\n"
        "exit_status  137                  (Killed)\ncategory     -l h_vmem=100M\n"
    )
    found = SGE.parse_account(f"#queue\n#rc 0\n#accounting\n{text}#rc 0\n{unknown('5')}", ["5"])
    assert found.elements["5.3"].state is JobState.OUT_OF_MEMORY


def test_array_tasks_have_states_of_their_own() -> None:
    elements = account("array-finished-qacct", "24").elements
    assert elements["24.1"].state is JobState.COMPLETED and elements["24.2"].state is JobState.FAILED


@pytest.mark.parametrize("case", ["unknown-id-qacct", "running-qacct", "finished-qdel-pending-qacct"])
def test_what_the_accounting_does_not_know_is_an_answer(case: str) -> None:
    found = account(case, "16")
    assert found.complete and not found.elements


def test_options_of_several_letters_have_one_dash() -> None:
    options = {
        "holdJid": "17", "hold_jid_ad": [4, 5], "now": False, "notify": True, "b": True, "ac": {"a": 1, "b": "x y"},
        "jobName": "mine", "hard": None, "R": True, "masterl": "gpu=1",
    }  # fmt: skip
    assert SGE.native(options) == [
        "-hold_jid", "17", "-hold_jid_ad", "4,5", "-now", "n", "-notify", "-b", "y", "-ac", "a=1,b=x y",
        "-R", "y", "-masterl", "gpu=1",
    ]  # fmt: skip
    assert SGE.native({"mpiPe": "mpi", "memory": "h_vmem", "gpu": "gpu", "terse": True}) == []


def test_an_accounting_without_a_category_is_read_all_the_same() -> None:
    text = "hostname     n1\njobnumber    5\ntaskid       undefined\nfailed       37  : qmaster enforced h_rt limit\n"
    text += "exit_status  137                  (Killed)\n"
    found = SGE.parse_account(f"#queue\n#rc 0\n#accounting\n{text}#exit 0\n#rc 0\n{unknown('5')}", ["5"])
    said = "qmaster enforced h_rt limit, exit status 137 (Killed) on n1"
    assert found == Account({"5": ElementState(JobState.TIMEOUT, said)}, True)


@pytest.mark.parametrize(
    ("answer", "complaints", "complete"),
    [
        ("#exit 1", "error: job id 5 not found", True),
        ("#exit 137", "", False),  # it hung, and was ended
        ("#exit 1\n#exit 137", "error: job id 5 not found", False),
        ("#exit 1", "/var/lib/gridengine/default/common/accounting: No such file or directory", True),
        ("#exit 1", "error: commlib error: access denied", False),
    ],
)
def test_only_what_the_accounting_says_of_all_jobs_is_an_answer(answer: str, complaints: str, complete: bool) -> None:
    text = f"#queue\n#rc 0\n#accounting\n{answer}\n#said\n{complaints}\n#rc 0\n{unknown('5', '6')}"
    found = SGE.parse_account(text, ["5", "6"])
    assert (found.complete, found.heard, found.elements) == (complete, True, {})


def test_an_accounting_that_fails_leaves_the_account_open() -> None:
    text = "#queue\n#rc 0\n#accounting\nerror: commlib error: access denied\n#rc 0\n"
    assert not SGE.parse_account(text, ["5"]).complete
    assert not SGE.parse_account("#queue\n#rc 0\n#accounting\n", ["5"]).complete  # cut off


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("", "no answer"),
        ("#exit 0\n#rc 0\n", "no answer"),  # nothing, and no error
        ("#exit 137\n#rc 0\n", "no answer in time"),
        ("#exit 1\n#exit 1\n\n#said\nFollowing jobs do not exist: \n5\nerror: commlib error: got read error\n#rc 0\n",
         "Following jobs do not exist: 5 error: commlib error: got read error"),
    ],
)  # fmt: skip
def test_a_list_without_a_job_is_no_proof_that_there_is_none(jobs: str, said: str) -> None:
    ids = ["5", "6"] if "commlib" in jobs else ["5"]
    text = f"#queue\n#rc 0\n#accounting\n#exit 1\n#said\nerror: job id 5 not found\n#rc 0\n#jobs\n{jobs}"
    assert SGE.parse_account(text, ids) == Account({}, False, f"qstat -j: {said}", heard=False)


def test_a_job_that_the_list_has_left_out_is_alive() -> None:
    answer = recorded("sge", "error-state-qstat-j")
    filters = re.search(r"\| (sed .*/\^Following.*')", SGE.account_command(["11"]))
    assert filters is not None
    shown = filtered(filters[1], answer["stdout"])
    text = (
        f"#queue\n#rc 0\n#accounting\n#exit 1\n#said\nerror: job id 11 not found\n#rc 0\n#jobs\n{shown}#exit 0\n#rc 0\n"
    )
    alive = ElementState(JobState.PENDING, "qstat -j shows it, the list of jobs does not")
    assert SGE.parse_account(text, ["11"]) == Account({"11": alive}, True)


@pytest.mark.parametrize("missing", ["jobnumber", "taskid", "failed", "exit_status", "hostname"])
def test_an_account_of_which_a_part_was_cut_off_proves_nothing(missing: str) -> None:
    lines = {"hostname": "grid", "jobnumber": "2", "taskid": "undefined", "failed": "0", "exit_status": "0"}
    whole = "".join(f"{key:<12} {value}\n" for key, value in lines.items())
    line = f"{missing:<12} {lines[missing]}\n"
    text = "#queue\n#rc 0\n#accounting\n{}#exit 0\n#said\n#rc 0\n" + unknown("2")
    ended = {"2": ElementState(JobState.COMPLETED, "exit status 0 on grid")}
    assert SGE.parse_account(text.format(whole), ["2"]) == Account(ended, True)
    for torn in ("", f"{missing:<12} \n"):
        account = SGE.parse_account(text.format(whole.replace(line, torn)), ["2"])
        assert (account.elements, account.complete) == ({}, False)
