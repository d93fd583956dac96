# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why tasks and runs wait in Airflow, and errors of tasks: whole sentences and remedies."""

from __future__ import annotations

import pytest

from airflow_hybrid.errors import DeployError, HybridError, SubmitError
from airflow_hybrid.reasons.errors import of_error
from airflow_hybrid.reasons.explanation import Explanation
from airflow_hybrid.reasons.tasks import Airflow, Other, Pool, Waiting, duration, not_run, queued_run, waiting

POOL = Pool("default_pool", 128, 128)
PARALLELISM = "`[core] parallelism` of Airflow and the workers' concurrency limit how many tasks run at a time"


@pytest.mark.parametrize(
    ("task", "airflow", "said"),
    [
        (
            Waiting(None, before=(Other("/align", "running"), Other("/qc", None))),
            Airflow(),
            "it waits for data of /align (running), /qc (not started): it starts by itself when they have ended",
        ),
        (
            Waiting(None, before=tuple(Other(f"/{n}", "up_for_retry") for n in range(5))),
            Airflow(),
            "it waits for data of /0 (between two tries), /1 (between two tries), /2 (between two tries) and 2 more: it"
            " starts by itself when they have ended",
        ),
        (
            Waiting(None, before=(Other("deploy_hpc", "running", deploys=True),)),
            Airflow(),
            "its deployment is not up yet: deploy_hpc (running): it starts by itself when that has ended; if it"
            " takes too"
            " long, look at that task's log",
        ),
        (Waiting(None), Airflow(), "Airflow's scheduler has not looked at it yet: it starts by itself"),
        (
            Waiting("scheduled", pool=Pool("licenses", 2, 0.0)),
            Airflow(),
            "all 2 slots of the pool `licenses` are taken: it starts by itself when one is free; `airflow pools set"
            " licenses"
            " SLOTS DESCRIPTION` gives it more",
        ),
        (
            Waiting("scheduled", pool=POOL),
            Airflow(active=16, most_active=16),
            "16 tasks of the run are active, and no more may be: it starts by itself when one has ended; `dag:"
            " {max_active_tasks: N}` in the hybrid file sets the limit",
        ),
        (
            Waiting("scheduled", pool=POOL, instances=4, most_instances=4),
            Airflow(),
            "4 of its instances are active, and no more may be: it starts by itself when one has ended;"
            " `max_active_tis_per_dag` of the task sets the limit",
        ),
        (
            Waiting("scheduled", pool_name="nosuch"),
            Airflow(),
            "Airflow has no pool `nosuch`: `airflow pools set nosuch SLOTS DESCRIPTION` makes it, or remove `pool`"
            " from the"
            " DAG's `default_args`",
        ),
        (
            Waiting("scheduled", pool=POOL),
            Airflow(),
            "it waits for a slot of Airflow's executor: it starts by itself; `[core] parallelism` limits how many"
            " tasks run"
            " at a time",
        ),
        (
            Waiting("queued", queue="gpu"),
            Airflow(),
            "it waits for a worker (queue `gpu`): it starts by itself when a worker of that queue is free; if it"
            " does not,"
            f" is one running? {PARALLELISM}",
        ),
        (
            Waiting("queued"),
            Airflow(scheduler_s=90),
            "no scheduler of Airflow has given a sign of life for 90 s, so nobody starts its tasks: start one: `airflow"
            " scheduler`; its log says why the last one ended",
        ),
        (
            Waiting("deferred"),
            Airflow(triggerer_s=9000),
            "no triggerer of Airflow has given a sign of life for 2 h, so nobody follows its jobs; they go on at their"
            " sites: start one: `airflow triggerer`; its log says why the last one ended",
        ),
        (
            Waiting("up_for_reschedule"),
            Airflow(),
            "it waits for a login that works, and looks again in a few minutes: `airflow hybrid login SITE` logs in,"
            " or renew"
            " the key or certificate; it goes on by itself as soon as the login works, and its log says which site"
            " it is",
        ),
        (
            Waiting("scheduled"),
            Airflow(paused=True),
            "the DAG is paused: `airflow dags unpause DAG`, or the switch on its page, lets the run go on",
        ),
        (Waiting("running"), Airflow(), "None"),
        (Waiting("deferred", trigger="airflow_hybrid.triggers.hybrid.HybridTrigger"), Airflow(), "None"),
    ],
)
def test_a_task_that_has_not_ended(task: Waiting, airflow: Airflow, said: str) -> None:
    assert str(waiting(task, airflow)) == said


def test_a_task_that_was_not_run() -> None:
    assert str(not_run(["/a"])) == ("because /a failed: repair that and clear it: what was not run follows by itself")
    assert not_run(["/a", "/b", "/c", "/d"]).sentence == "because /a, /b, /c and 1 more failed"
    assert not_run([]).sentence == "because something before it failed"


def test_a_run_that_has_not_begun() -> None:
    assert str(queued_run(2, 2, Airflow())) == (
        "2 runs of the DAG are active, and no more may be: it starts by itself when one has ended; `dag:"
        " {max_active_runs:"
        " N}` in the hybrid file sets the limit"
    )
    assert queued_run(0, 16, Airflow(scheduler_s=100)).sentence.startswith("no scheduler of Airflow")
    assert queued_run(0, 16, Airflow(paused=True)).sentence == "the DAG is paused"
    assert queued_run(0, 16, Airflow()).passes


@pytest.mark.parametrize(
    ("error", "explanation"),
    [
        (
            SubmitError(
                "slurm refused the batch: sbatch: error: Batch job submission failed: Invalid qos specification",
                where="hpc (by login): submit /align",
                hint="anything",
            ),
            Explanation(
                "slurm refused it at hpc (by login): the QOS does not exist, or you may not use it",
                "correct `qos` of the service in the hybrid file; `sacctmgr show assoc user=$USER` at the site lists"
                " yours,"
                " with their QOS",
            ),
        ),
        (
            SubmitError("slurm refused the batch: our own plugin says no"),
            Explanation(
                "slurm refused it: our own plugin says no",
                "change the service's options in the hybrid file, or what the step asks for (ResourceRequirement)",
                known=False,
            ),
        ),
        (
            DeployError(
                "the image was not found\n| docker: no such image", where="lab", hint="pull it\n  -> or build it"
            ),
            Explanation("lab: the image was not found", "pull it"),
        ),
        (HybridError("it broke"), Explanation("it broke", "the task's log says more")),
        (HybridError(""), Explanation("it failed without a message", "the task's log says more")),
    ],
)
def test_errors_of_tasks(error: HybridError, explanation: Explanation) -> None:
    assert of_error(error.to_json()) == explanation


def test_an_error_that_somebody_has_changed_is_safe_to_show() -> None:
    value = {"message": "x\x1b[2J\x1b", "where": 3, "hint": ["a"]}
    assert of_error(value) == Explanation("3: x\\x1b", "['a']")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
