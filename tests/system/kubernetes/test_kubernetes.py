# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes: pods as hosts, batches as Indexed Jobs, and what goes wrong there by name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import AuthenticationError, CancelledError, ConfigError, HostKeyError, SiteError, SubmitError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.sites.batches.poller import Progress
from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector
from tests.system.kube import Kube, until
from tests.unit.sites.shell_hosts import batch

WAIT_S = 120
Connect = Callable[..., KubernetesConnector]


@pytest.fixture
async def connect(kube: Kube) -> AsyncIterator[Connect]:
    """Makes connectors to the cluster, as different Airflow processes would have them."""
    made: list[KubernetesConnector] = []

    def make(services: dict[str, Any] | None = None, **config: Any) -> KubernetesConnector:
        deployment = Deployment("kube", "kubernetes", config=kube.config(services, **config))
        made.append(KubernetesConnector(deployment))
        return made[-1]

    yield make
    for connector in made:
        await connector.close()


class Bench:
    """One service of a connector and a task directory of its own."""

    def __init__(self, connector: KubernetesConnector, service: str, task: str, **queue: Any) -> None:
        self.connector, self.service, self.task = connector, service, task
        self.settings = queue

    async def ready(self) -> Bench:
        (self.host,) = await self.connector.hosts(self.service)
        self.queue = self.connector.queue(self.host, self.service)
        for name, value in self.settings.items():
            setattr(self.queue, name, value)
        self.folder = f"{await self.connector.workdir(self.host, self.service)}/{self.task}"
        return self

    def batch(self, token: str = "a1", *args: Any, **more: Any) -> Any:
        options = {**self.connector.options(self.service), **more.pop("options", {})}
        return batch(f"{self.folder}/{token}", *args, options=options, **more)

    async def run(self, made: Any, progress: Any = None) -> Any:
        await self.queue.submit(made)
        return await asyncio.wait_for(self.queue.wait(made.directory, progress), WAIT_S)


@pytest.fixture
async def bench(connect: Connect) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Bench] = []

    async def make(
        service: dict[str, Any] | None = None, task: str | None = None, connector: Any = None, **queue: Any
    ) -> Bench:
        services = None if service is None else {"small": service}
        made = Bench(connector or connect(services), "small", task or f"T{os.urandom(4).hex()}", **queue)
        opened.append(await made.ready())
        return made

    yield make
    for made in opened:
        await made.queue.cancel(made.folder)


# --- pods as hosts ----------------------------------------------------------------------------------------------


async def test_commands_and_bytes_go_through_the_service_pod_unharmed(bench: Callable[..., Any]) -> None:
    host = (await bench()).host
    data = bytes(range(256)) * 5000
    result = await host.run("cat; echo oops >&2; exit 7", stdin=data)
    assert (result.exit_code, result.stdout, result.stderr) == (7, data, b"oops\n")
    # one that does not read its input, one whose text is longer than an argument may be, one with odd characters
    assert (await host.run("echo hi", stdin=data)).out == "hi\n"
    assert (await host.run(f"x='{'y' * 300_000}'; echo ${{#x}}")).out == "300000\n"
    assert (await host.run("printf '%s\\n' \"it's \\$5 & ü\"")).out == "it's $5 & ü\n"
    assert (await host.run("kill -9 $$; sleep 9")).exit_code == 137
    async with host.stream("head -c 3000000 /dev/zero; cat >/dev/null") as stream:
        size = 0
        while size < 3_000_000:
            size += len(await stream.read())
        await stream.write(b"x" * 10)
        assert (await stream.close()).exit_code == 0
    assert size == 3_000_000


async def test_pods_that_run_anyway_are_locations_that_run_jobs(kube: Kube, connect: Connect) -> None:
    name = f"shell-{os.urandom(3).hex()}"
    container = {"name": "main", "image": kube.tools, "command": ["sleep", "600"]}
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-{i}", "labels": {"app": name}},
         "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
        for i in range(2)
    ]  # fmt: skip
    kube.apply(*pods)
    try:
        until(lambda: all(p["status"].get("phase") == "Running" for p in kube.get("pods", "-l", f"app={name}")))
        connector = connect({"shell": {"selector": {"app": name}, "container": "main"}}, storage=None)
        hosts = await connector.hosts("shell")
        assert [host.location for host in hosts] == [f"{name}-0", f"{name}-1"]
        assert await connector.hosts("shell") == hosts
        queue = connector.queue(hosts[1], "shell")
        made = batch("/tmp/T/a1", 3, lambda i: ("sh", "-c", f"uname -n; exit {i}"))
        await queue.submit(made)
        results = await asyncio.wait_for(queue.wait(made.directory), WAIT_S)
        assert [r.exit_code for r in results] == [0, 1, 2]
        assert (await hosts[1].run(f"cat {results[0].stdout_path}")).out.strip() == f"{name}-1"
        with pytest.raises(ConfigError, match="no container 'other'"):
            await connect({"x": {"selector": {"app": name}, "container": "other"}}, storage=None).hosts("x")
    finally:
        kube.kubectl("delete", "pods", "-l", f"app={name}", "--wait=false")
    with pytest.raises(SiteError, match="no pod that is ready"):
        await connect({"x": {"selector": {"app": "nothing-here"}}}, storage=None).hosts("x")


async def test_a_service_pod_that_was_evicted_is_made_again(kube: Kube, bench: Callable[..., Any]) -> None:
    made = await bench()
    await made.host.run("echo kept >keep.txt; pwd")
    await made.host.run(f"mkdir -p {made.folder}; echo kept >{made.folder}/x")
    pods = kube.get("pods", "-l", "airflow-hybrid/role=storage")
    for pod in pods:
        kube.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    assert (await made.host.run(f"cat {made.folder}/x")).out == "kept\n"


# --- batches ------------------------------------------------------------------------------------------------------


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


# --- what goes wrong, by name -------------------------------------------------------------------------------------


async def test_a_job_over_its_memory_is_out_of_memory(bench: Callable[..., Any]) -> None:
    made = await bench()
    needs = Resources(ram_mib=24, explicit=frozenset({"ram_mib"}))
    eat = ("sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
    (result,) = await made.run(made.batch("a1", 1, lambda i: eat, resources=needs))
    assert result.state is JobState.OUT_OF_MEMORY
    assert "OOMKilled" in result.reason


async def test_an_evicted_pod_is_begun_again_from_the_start(kube: Kube, bench: Callable[..., Any]) -> None:
    kube.need_double()
    made = await bench()
    text = f"echo x >>{made.folder}/tries; [ -e left ] && exit 9; : >left; sleep 6"
    one = made.batch("a1", 1, lambda i: ("sh", "-c", text))
    (report,) = await made.queue.submit(one)
    waiting = asyncio.ensure_future(made.queue.wait(one.directory))
    while not (await made.host.run(f"cat {made.folder}/tries 2>/dev/null")).out:
        await asyncio.sleep(0.3)
    (pod,) = kube.get("pods", "-l", f"job-name={report.scheduler_ids[0]}")
    kube.control(f"evict/{kube.namespace}/{pod['metadata']['name']}", message="The node was low on resource: memory.")
    (result,) = await asyncio.wait_for(waiting, WAIT_S)
    assert (result.state, result.exit_code) == (JobState.COMPLETED, 0)
    assert (await made.host.run(f"cat {made.folder}/tries")).out == "x\nx\n"


async def test_an_image_that_is_not_there_fails_the_batch_with_its_name(kube: Kube, bench: Callable[..., Any]) -> None:
    image = "registry.invalid/no/such:1"
    made = await bench({"image": image, "startTimeout": 3})
    heard: list[Progress] = []
    (result,) = await made.run(made.batch("a1", 1), heard.append)
    assert result.state is JobState.FAILED
    assert image in result.reason and ("ImagePull" in result.reason)
    until(lambda: not [p for p in kube.batches("pods") if p["spec"]["containers"][0]["image"] == image])


async def test_a_pod_that_finds_no_node_says_why_while_it_waits(bench: Callable[..., Any]) -> None:
    made = await bench({"nodeSelector": {"no.such/label": "x"}})
    heard: list[Progress] = []
    one = made.batch("a1", 1)
    running = asyncio.ensure_future(made.run(one, heard.append))
    while not any("Unschedulable" in reason for p in heard for reason in p.reasons):
        await asyncio.sleep(0.3)
        assert not running.done()
    assert "node" in str(heard[-1]) and heard[-1].pending == 1
    await made.queue.cancel(made.folder)
    assert (await running)[0].state is JobState.CANCELLED


async def test_a_configuration_that_is_not_there_fails_the_batch(bench: Callable[..., Any]) -> None:
    reference = [{"secretRef": {"name": "no-such-secret"}}]
    made = await bench({"envFrom": reference, "startTimeout": 3})
    (result,) = await made.run(made.batch("a1", 1))
    assert result.state is JobState.FAILED
    assert "CreateContainerConfigError" in result.reason and "no-such-secret" in result.reason


async def test_a_quota_that_one_pod_exceeds_refuses_the_batch(kube: Kube, bench: Callable[..., Any]) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
             "spec": {"hard": {"requests.memory": "2Gi"}}}  # fmt: skip
    made = await bench()
    await made.host.run("true")
    kube.apply(quota)
    try:
        needs = Resources(ram_mib=4096, explicit=frozenset({"ram_mib"}))
        with pytest.raises(SubmitError, match="exceeded quota: small, requested: requests.memory=4Gi") as caught:
            await made.queue.submit(made.batch("a1", 1, resources=needs))
        assert not caught.value.retryable
        assert (await made.host.run(f"ls {made.folder}")).out.split() == ["lock"]
    finally:
        kube.kubectl("delete", "resourcequota", "small")


async def test_pods_wait_for_a_quota_that_others_use_up_and_say_so(kube: Kube, bench: Callable[..., Any]) -> None:
    made = await bench(pack_s=0.0)
    await made.host.run("true")
    others = len([p for p in kube.get("pods") if p["status"].get("phase") in ("Running", "Pending")])
    kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
                "spec": {"hard": {"pods": str(others + 1)}}})  # fmt: skip
    heard: list[Progress] = []
    try:
        results = await made.run(made.batch("a1", 2, lambda i: ("sleep", "4")), heard.append)
    finally:
        kube.kubectl("delete", "resourcequota", "few")
    assert {r.state for r in results} == {JobState.COMPLETED}
    assert any("exceeded quota: few" in reason for p in heard for reason in p.reasons)


async def test_a_manifest_that_the_cluster_refuses_is_a_clear_message(bench: Callable[..., Any]) -> None:
    made = await bench({"serviceAccountName": "no-such-account"})
    with pytest.raises(SubmitError, match="no-such-account") as caught:
        await made.queue.submit(made.batch("a1", 1))
    assert not caught.value.retryable


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


# --- getting in ---------------------------------------------------------------------------------------------------


async def test_a_certificate_of_another_authority_is_refused(kube: Kube, connect: Connect, tmp_path: Any) -> None:
    import subprocess

    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out",
         tmp_path / "other.crt", "-subj", "/CN=other", "-days", "2"], check=True, capture_output=True,
    )  # fmt: skip
    config = _changed(kube, tmp_path, cluster={"certificate-authority": str(tmp_path / "other.crt")})
    connector = connect(kubeconfig=config)
    with pytest.raises(HostKeyError, match="certificate is not the expected one") as caught:
        await (await connector.hosts("small"))[0].run("true")
    assert not caught.value.retryable and "certificate-authority" in str(caught.value)


async def test_a_token_that_has_expired_is_refused(kube: Kube, connect: Connect, tmp_path: Any) -> None:
    config = _changed(kube, tmp_path, user={"token": "expired"})
    with pytest.raises(AuthenticationError, match="401") as caught:
        await (await connect(kubeconfig=config).hosts("small"))[0].run("true")
    assert "renew" in str(caught.value)


async def test_a_token_that_was_renewed_in_the_file_is_used(kube: Kube, connect: Connect, tmp_path: Any) -> None:
    config = _changed(kube, tmp_path, user={"token": "expired"})
    connector = connect(kubeconfig=config)
    await connector.cluster.connect()
    with open(config, "w") as file:
        file.write(kube.kubeconfig.read_text())
    assert (await (await connector.hosts("small"))[0].run("echo in")).out == "in\n"


async def test_a_claim_that_is_not_there_is_named(kube: Kube, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.kubernetes.storage.START_S", 4.0)
    connector = connect(storage={"claim": "no-such-claim", "image": kube.tools})
    try:
        with pytest.raises(SiteError, match="no-such-claim"):
            await (await connector.hosts("small"))[0].run("true")
    finally:
        await connector._storage.remove()  # type: ignore[union-attr]


def _changed(kube: Kube, folder: Any, *, cluster: Any = None, user: Any = None) -> str:
    """A copy of the kubeconfig that says something else."""
    import yaml

    config = yaml.safe_load(kube.kubeconfig.read_text())
    if cluster:
        config["clusters"][0]["cluster"].pop("certificate-authority-data", None)
        config["clusters"][0]["cluster"].update(cluster)
    if user:
        config["users"][0]["user"] = user
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)
