# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Placement on real sites: what Slurm says of itself, and sites that go and come back."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine.placing import places
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import FileRef, LineageEntry, Resources
from airflow_hybrid.sites.batches.look import Enquiry, look
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import open_connector
from tests.needs import unavailable
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed
from tests.unit.engine.fragments import execution, spec

HOURS = "#!/bin/sh\n#SBATCH --time=00:30:00\n{{streamflow_command}}\n"
TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: hostname
inputs: {name: string}
outputs: {out: stdout}
"""


@pytest.fixture
async def sites(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Deployment]]:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))

    def ssh(name: str, *names: str) -> Deployment:
        nodes = [
            {"hostname": there.host, "username": there.user, "sshKey": str(there.key)}
            for there in (testbed.sites[site] for site in names)
        ]
        # `cores`: this machine's own load must not matter
        config = {"nodes": nodes, "cores": 4, "known_hosts": [str(testbed.known_hosts)], "connectTimeout": 5}
        return Deployment(name, "ssh", config, workdir=f"~/placement-{secrets.token_hex(4)}")

    services = {
        "main": {"partition": "main", "account": "proj"},
        "short": {"partition": "short", "account": "proj", "file": "template"},
        "huge": {"partition": "main", "account": "proj", "nodes": 99},
    }
    yield {
        "login": ssh("login", "hpc"),
        "hpc": Deployment("hpc", "slurm", {"services": services}, wraps="login", templates={"short": HOURS}),
        "cloud": ssh("cloud", "cloud"),
        "edge": ssh("edge", "edge"),
        "pair": ssh("pair", "cloud", "edge"),
    }
    await close_all()


def placed(lineage: list[LineageEntry]) -> list[str]:
    return [entry.destination.split("/")[3] for entry in lineage if entry.route == "placed"]


async def test_slurm_says_what_is_free_and_when_a_job_would_start(
    sites: dict[str, Deployment], testbed: Testbed
) -> None:
    connector = open_connector(sites, "hpc")
    (host,) = await connector.hosts()

    async def ask(service: str, cores: float = 1) -> Any:
        return await look(
            host, connector.scheduler(), "/none",
            Enquiry(Resources(cores, explicit=frozenset({"cores"})), connector.options(service), load=True, wait=True),
        )  # fmt: skip

    with testbed.counting("hpc", "sbatch") as calls:
        idle = await ask("main")
    assert calls.calls("sbatch") and all("--test-only" in call for call in calls.calls("sbatch"))
    assert (idle.capacity.cores, idle.capacity.free_cores) == (12, 12)
    assert idle.wait_s is not None and idle.wait_s < 5
    assert (await ask("short")).capacity.cores == 4
    huge = await ask("huge")
    assert huge.wait_s is None and "node" in huge.words
    script = "#!/bin/sh\nsleep 300\n"
    held = testbed.run("hpc", f"printf %s '{script}' | sbatch --parsable -A proj -N3 -n12 --exclusive -t 10").strip()
    try:
        for _ in range(40):
            busy = await ask("main", 4)
            if busy.capacity.free_cores == 0:
                break
        assert busy.capacity.free_cores == 0
        assert busy.wait_s is not None and 400 < busy.wait_s < 700, "it waits for the end of the time limit"
    finally:
        testbed.run("hpc", f"scancel {held}")


async def test_a_queue_with_a_long_wait_is_avoided(
    sites: dict[str, Deployment], testbed: Testbed, tmp_path: Path
) -> None:
    script = "#!/bin/sh\nsleep 300\n"
    held = testbed.run("hpc", f"printf %s '{script}' | sbatch --parsable -A proj -N3 -n12 --exclusive -t 10").strip()
    binding = {"target": [{"deployment": "hpc", "service": "main"}, "cloud"], "policy": "queue_wait"}
    try:
        while testbed.run("hpc", f"squeue -h -j {held} -o %T").strip() != "RUNNING":
            await asyncio.sleep(1)
        run, log = execution(spec(tmp_path, sites, binding, [{"name": "a"}], TOOL))
        outcome = await run.run()
    finally:
        testbed.run("hpc", f"scancel {held}")
    assert placed(outcome.lineage) == [testbed.sites["cloud"].host]
    assert "starts in about 0 s" in log.text and "hpc/main" in log.text


async def test_a_site_that_is_cut_off_is_passed_over_and_taken_again_when_it_is_back(
    sites: dict[str, Deployment], testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "DOWN_FOR_S", 3)
    cloud, edge = testbed.sites["cloud"].host, testbed.sites["edge"].host
    binding = {"target": "pair", "policy": "in_order"}

    async def where(index: int) -> tuple[list[str], str]:
        run, log = execution(spec(tmp_path, sites, binding, [{"name": "a"}], TOOL, map_index=index))
        return placed((await run.run()).lineage), log.text

    assert (await where(0))[0] == [cloud]
    testbed.cut("cloud")
    try:
        assert (await where(1))[0] == [edge]
        chosen, log = await where(2)  # nobody waits for it again so soon
        assert chosen == [edge] and "s ago; asked again" in log
    finally:
        testbed.heal("cloud")
    await asyncio.sleep(places.DOWN_FOR_S)
    assert (await where(3))[0] == [cloud]


# --- several locations at once ---

NODES = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$HYBRID_HOSTFILE"; echo "$HYBRID_LOCATIONS"; %s']
inputs: {name: string}
outputs: {out: stdout}
stdout: out.txt
"""
MPIRUN = 'mpirun -n "$HYBRID_LOCATIONS" hostname'


async def lines(run: Any, outcome: Any) -> list[str]:
    ref = FileRef.parse(outcome.results[0].outputs["out"]["location"])
    host = next(place.host for place in await run.context.places.all() if place.host.location == ref.location)
    content: str = (await host.run(f"cat {shlex.quote(ref.path)}")).out
    return content.split()


async def test_an_mpi_job_has_two_hosts_at_once(sites: dict[str, Deployment], testbed: Testbed, tmp_path: Path) -> None:
    if shutil.which("mpirun") is None:
        unavailable("an MPI job", "mpirun", "apt-get install openmpi-bin")
    cloud, edge = testbed.sites["cloud"], testbed.sites["edge"]
    # where the users of the hosts differ, ssh there must know
    known = testbed.run("cloud", "cat ~/.ssh/config")
    testbed.run("cloud", f"printf 'Host {edge.host}\\n  User {edge.user}\\n' >>~/.ssh/config")
    binding = {"target": {"deployment": "pair", "locations": 2}, "policy": "in_order"}
    try:
        run, log = execution(spec(tmp_path, sites, binding, [{"name": "a"}], NODES % MPIRUN))
        outcome = await run.run()
    finally:
        testbed.run("cloud", f"printf %s {shlex.quote(known)} >~/.ssh/config")
    assert sorted(await lines(run, outcome)) == sorted([cloud.host, edge.host, "2", "cloud", "edge"])
    assert cloud.host in log.text and f"+ pair (edgeuser@{edge.host})" in log.text


async def test_a_slurm_job_has_two_nodes_at_once(
    sites: dict[str, Deployment], testbed: Testbed, tmp_path: Path
) -> None:
    binding = {"target": {"deployment": "hpc", "service": "main", "locations": 2}}
    run, _ = execution(spec(tmp_path, sites, binding, [{"name": "a"}], NODES % "srun hostname"))
    found = await lines(run, await run.run())
    nodes = found[:2]
    assert len(set(nodes)) == 2 and found[2] == "2"
    assert sorted(found[3:]) == sorted(nodes), "srun starts one process on each of the nodes"


async def test_a_job_that_needs_more_hosts_than_answer_is_told(
    sites: dict[str, Deployment], testbed: Testbed, tmp_path: Path
) -> None:
    binding = {"target": {"deployment": "pair", "locations": 3}}
    run, _ = execution(spec(tmp_path, sites, binding, [{"name": "a"}], TOOL))
    with pytest.raises(SiteError, match="needs 3 locations at once of 'pair', which has 2") as caught:
        await run.run()
    assert not caught.value.retryable


# --- through Airflow ---


@pytest.mark.long
def test_a_dag_passes_a_site_over_that_is_down_and_its_lineage_says_why(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    gone = {**deployments["edge"], "config": {"nodes": ["127.0.0.1:1"], "connectTimeout": 2}}
    binding = {
        "step": "/echo",
        "target": ["gone", {"deployment": "hpc", "service": "main"}, "cloud"],
        "policy": "cheapest",
        "filters": ["not-ham"],
        "scatter": "batch",
    }
    rules = [
        {"target": "cloud", "job": []},
        {"target": "gone", "job": []},
        {"target": {"deployment": "hpc", "service": "main"}, "job": [{"port": "word", "regex": "(?!ham).*"}]},
    ]
    hybrid = {
        "version": "v1.0",
        "workflows": {
            "placed": {"type": "cwl", "config": {"file": "scatter_echo.cwl"}, "bindings": [binding], "dag": {}},
        },
        "bindingFilters": {"not-ham": {"type": "matching", "config": {"filters": rules}}},
        "scheduling": {"policies": {"cheapest": {"type": "cost", "config": {}}}},
        "deployments": {
            **deployments,
            "gone": {**gone, "price_per_core_hour": 0},
            "hpc": {**deployments["hpc"], "price_per_core_hour": 0.01},
            "cloud": {**deployments["cloud"], "price_per_core_hour": 0.5},
        },
    }
    name = dags.add("placed", hybrid)
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {"words": ["ham", "eggs"]})
    airflow.api.succeed(name, run)
    entries = airflow.api.xcom(name, run, "echo", key="lineage")
    notes = {entry["source"]: entry["note"] for entry in entries if entry["route"] == "placed"}
    assert len(notes) == 2
    assert "cloud" in notes["/echo[0]"] and "0.5 an hour" in notes["/echo[0]"]
    assert notes["/echo[1]"].startswith("hpc/main") and "0.01 an hour" in notes["/echo[1]"]
    log = airflow.api.log(name, run, "echo")
    assert "gone (127.0.0.1:1) is unavailable and skipped" in log and "/echo[0] -> cloud" in log
