# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes: batches as Indexed Jobs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from airflow_hybrid.errors import CancelledError, ConfigError
from airflow_hybrid.model import JobState
from airflow_hybrid.sites.batches.poller import Progress
from tests.system.kube import Kube, until
from tests.system.kubernetes.benches import WAIT_S


async def test_a_batch_is_one_indexed_job_that_goes_when_all_is_well(kube: Kube, bench: Callable[..., Any]) -> None:
    made = await bench()
    one = made.batch("a1", 5, lambda i: ("sh", "-c", f"echo {i}; pwd"))
    (report,) = await made.queue.submit(one)
    (job,) = [j for j in kube.batches() if j["metadata"]["name"] == report.scheduler_ids[0]]
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 5)
    assert (await made.queue.submit(one))[0].scheduler_ids == report.scheduler_ids
    results = await asyncio.wait_for(made.queue.wait(one.directory), WAIT_S)
    assert [r.state for r in results] == [JobState.COMPLETED] * 5
    assert (await made.host.run(f"cat {results[3].stdout_path}")).out == f"3\n{one.directory}/00003/out\n"
    until(lambda: report.scheduler_ids[0] not in [j["metadata"]["name"] for j in kube.batches()])
    facts = await made.queue.facts(trees=[f"{one.directory}/00000/out"])
    assert facts.files[f"{one.directory}/00000/out"].kind == "d"


async def test_exit_codes_are_the_jobs_own(bench: Callable[..., Any]) -> None:
    made = await bench()
    results = await made.run(made.batch("a1", 3, lambda i: ("sh", "-c", f"echo bad {i} >&2; exit {i}")))
    assert [r.exit_code for r in results] == [0, 1, 2]
    assert results[2].stderr_tail == "bad 2\n"


@pytest.mark.long
async def test_many_batches_need_one_watch_and_no_request_each(kube: Kube, bench: Callable[..., Any]) -> None:
    kube.need_double()
    made = await bench(task=f"T{os.urandom(4).hex()}")
    benches = [made, *[await bench(connector=made.connector) for _ in range(4)]]
    await made.host.run(":")  # the service pod is a Job, too, and may have to be made
    kube.control("reset")
    # AIRFLOW_HYBRID_KUBE_JOBS=200 for more of them: each is a pod, which costs the double about a CPU second
    each = int(os.environ.get("AIRFLOW_HYBRID_KUBE_JOBS", "50")) // len(benches)
    batches = [b.batch("a1", each, lambda i: ("true",)) for b in benches]
    seen: list[list[str]] = []

    async def look() -> None:
        while True:
            await asyncio.sleep(0.5)
            seen.append(await asyncio.to_thread(kube.watches))

    looking = asyncio.ensure_future(look())
    results = await asyncio.gather(*(b.run(x) for b, x in zip(benches, batches, strict=True)))
    looking.cancel()
    assert {r.state for group in results for r in group} == {JobState.COMPLETED}
    asked = kube.requests()
    assert asked["POST jobs"] == 5
    assert asked["WATCH jobs"] == 1 and asked["LIST jobs"] == 1
    assert asked["GET jobs"] == 0 and asked["WATCH pods"] == 0
    assert max(watches.count("jobs") for watches in seen) == 1


async def test_the_watch_begins_anew_where_its_past_is_forgotten(kube: Kube, bench: Callable[..., Any]) -> None:
    kube.need_double()
    made = await bench()
    one = made.batch("a1", 1, lambda i: ("sleep", "6"))
    heard: list[Progress] = []
    running = asyncio.ensure_future(made.run(one, heard.append))
    while not any(p.running for p in heard):
        await asyncio.sleep(0.2)
    version = made.connector.jobs._version
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{os.urandom(3).hex()}"}, "data": {}})
    kube.control("compact")
    kube.control("drop")
    (result,) = await running
    assert result.state is JobState.COMPLETED
    assert made.connector.jobs.lists == 2 and made.connector.jobs._version != version


async def test_a_lost_reply_makes_no_second_job(kube: Kube, bench: Callable[..., Any]) -> None:
    kube.need_double()
    made = await bench()
    kube.control("reset")
    kube.control("lose", method="POST", resource="jobs", count=1)
    one = made.batch("a1", 2, lambda i: ("sh", "-c", f"echo ran >>{made.folder}/ran.{i}"))
    results = await made.run(one)
    assert {r.state for r in results} == {JobState.COMPLETED}
    assert kube.requests()["POST jobs"] == 1
    assert (await made.host.run(f"cat {made.folder}/ran.*")).out == "ran\n" * 2


async def test_another_process_takes_over_where_one_was_killed(kube: Kube, bench: Callable[..., Any]) -> None:
    first = await bench(task=(task := f"T{os.urandom(4).hex()}"))
    command = ("sh", "-c", f"echo ran >>{first.folder}/ran; sleep 4")
    await first.queue.submit(first.batch("a1", 1, lambda i: command))
    await first.connector.close()  # what a kill leaves: nothing of the process, everything at the cluster
    second = await bench(task=task)
    again = second.batch("a1", 1, lambda i: command)
    (report,) = await second.queue.submit(again)
    assert [r.state for r in await asyncio.wait_for(second.queue.wait(again.directory), WAIT_S)] == [JobState.COMPLETED]
    assert (await second.host.run(f"cat {second.folder}/ran")).out == "ran\n"
    assert len([j for j in kube.batches() if j["metadata"]["name"] == report.scheduler_ids[0]]) == 0


async def test_cancelling_deletes_the_job_and_nothing_comes_after(kube: Kube, bench: Callable[..., Any]) -> None:
    made = await bench()
    one = made.batch("a1", 2, lambda i: ("sleep", "300"))
    (report,) = await made.queue.submit(one)
    name = report.scheduler_ids[0]
    until(lambda: kube.get("pods", "-l", f"job-name={name}"))
    await made.queue.cancel(made.folder)
    until(lambda: not kube.get("pods", "-l", f"job-name={name}"))
    assert name not in [j["metadata"]["name"] for j in kube.batches()]
    with pytest.raises(CancelledError):
        await made.queue.submit(made.batch("a2"))
    assert {r.state for r in await asyncio.wait_for(made.queue.wait(one.directory), WAIT_S)} == {JobState.CANCELLED}


async def test_a_template_adds_what_options_cannot_say(kube: Kube, bench: Callable[..., Any]) -> None:
    template = """
kind: Pod
metadata: {labels: {team: "{{ job_name[:4] }}"}}
spec:
  containers:
    - {name: main, env: [{name: JOBS, value: "{{ jobs }}"}]}
"""
    made = await bench({"image": kube.image})
    one = made.batch("a1", 2, lambda i: ("sh", "-c", "echo $JOBS"), options={"template": template})
    results = await made.run(one)
    assert (await made.host.run(f"cat {results[1].stdout_path}")).out == "2\n"
    with pytest.raises(ConfigError, match="cannot be filled in"):
        await made.queue.submit(made.batch("a2", 1, options={"template": "kind: Pod\nspec: {{ nonsense }}\n"}))
