# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a site's environment holds for people changes no script of ours; what programs need to be found can be said."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment, load_hybrid_file
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Question
from airflow_hybrid.model.clean_shell import CHANGES_PROGRAMS, clean_restart
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites import check
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.check import site_probe
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.hosts.environment import prelude
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.probing.probe import facts
from tests.security.hosts import CHANGING, SiteHost
from tests.unit.sites.shell_hosts import batch

SHELLS = ("dash", "bash", "ksh", "zsh")
OF_QUEUES = ("SLURM", "SBATCH", "SQUEUE", "SCANCEL", "SACCT", "SCONTROL", "SINFO", "PBS", "SGE", "FLUX")


@pytest.mark.parametrize("shell", SHELLS)
async def test_no_script_sees_what_changes_programs(shell: str, tmp_path: Path) -> None:
    host = SiteHost(shell, CHANGING)
    seen = (await host.run("env")).out
    assert [name for name in CHANGES_PROGRAMS if f"\n{name}=" in f"\n{seen}"] == []
    assert site_probe.parse((await host.run(site_probe.script(str(tmp_path)))).out).missing == []
    (tmp_path / "a b").write_text("hello")
    known = await facts(host, [Question("stat", f"{tmp_path}/a b")])
    assert known.files[f"{tmp_path}/a b"].size == 5


@pytest.mark.parametrize("shell", SHELLS)
async def test_programs_of_queues_hear_nothing_of_a_profile_but_where_their_cluster_is(shell: str) -> None:
    kept = {
        "SLURM_CONF": "/etc/s.conf",
        "SLURM_CLUSTERS": "main",
        "SBATCH_ACCOUNT": "physics",
        "SBATCH_PARTITION": "short",
        "PBS_DEFAULT": "server",
        "SGE_ROOT": "/opt/sge",
    }
    host = SiteHost(shell, {**CHANGING, **kept})
    lines = (await host.run("env")).out.splitlines()
    heard = {line.partition("=")[0]: line.partition("=")[2] for line in lines if line.startswith(OF_QUEUES)}
    assert heard == kept


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_batch_lives_in_such_an_environment(shell: str, tmp_path: Path) -> None:
    host = SiteHost(shell, CHANGING)
    queue = JobQueue(host, ProcessScheduler(), grace_s=1.0)
    made = batch(f"{tmp_path}/T/a1-x", 5, lambda i: ("sh", "-c", f"env >e; exit {i % 3}"))
    await queue.submit(made)
    results = await queue.wait(made.directory)
    assert [result.exit_code for result in results] == [0, 1, 2, 0, 1]
    seen = Path(made.directory, "00000", "out", "e").read_text()
    assert [name for name in CHANGES_PROGRAMS if f"\n{name}=" in f"\n{seen}"] == []


async def test_a_runner_that_a_queue_starts_cleans_its_own(tmp_path: Path) -> None:
    script = tmp_path / "runner.sh"
    script.write_text(f'#!/bin/sh\n{clean_restart()}env; echo "$1"\n')
    libraries = {"AIRFLOW_HYBRID_CLIENT_LIBRARIES": "/of/airflow", "SLURM_JWT": "secret"}
    for given, left in (("/of/airflow", []), ("/of/the/site", ["LD_LIBRARY_PATH=/of/the/site"])):
        environment = {**CHANGING, **libraries, "LD_LIBRARY_PATH": given, "PATH": os.environ["PATH"]}
        process = await asyncio.create_subprocess_exec("bash", str(script), "a b", env=environment, stdout=-1)
        lines = (await process.communicate())[0].decode().splitlines()
        kept = sorted(line for line in lines if not line.startswith(("PATH=", "PWD=", "SHLVL=", "_=", "OLDPWD=")))
        assert kept == sorted([*left, "a b"])


async def test_an_image_for_jobs_may_have_a_shell_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "runner.sh"
    script.write_text(f'#!/bin/sh\n{clean_restart()}echo "$1"\n')
    environment = {"PATH": str(tmp_path)}
    process = await asyncio.create_subprocess_exec("/bin/sh", str(script), "a b", env=environment, stdout=-1)
    assert (await process.communicate())[0] == b"a b\n"


# --- programs of a queue system that wraps this machine ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"), [("slurm", "SLURM_CONF"), ("sge", "SGE_ROOT"), ("pbs", "PBS_CONF_FILE"), ("flux", "FLUX_URI")]
)
async def test_programs_of_a_queue_here_find_their_cluster(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.setenv(name, "/there")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/libraries")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    sites = {"queue": Deployment("queue", kind), "here": Deployment("here", "local")}
    (host,) = await open_connector(sites, "queue").hosts()
    assert await open_connector(sites, "queue").hosts() == [host]
    said = f'echo "${name} $LD_LIBRARY_PATH ${{AIRFLOW__CORE__FERNET_KEY-}}"'
    assert (await host.run(said)).out == "/there /libraries \n"
    (plain,) = await open_connector(sites, "here").hosts()
    assert (await plain.run(said)).out == "  \n"


# --- path and profile -------------------------------------------------------------------------------------------------


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return folder


async def test_a_path_comes_first_for_commands_and_jobs(tmp_path: Path) -> None:
    folder = program(tmp_path / "b i'n$", "only-there", "echo found")
    host = LocalHost(prelude=prelude({"path": [str(folder).replace("$", "\\$"), "/nowhere"]}))
    assert (await host.run("only-there")).out in ("found\n", "")
    folder = program(tmp_path / "bin", "only-there", "echo found")
    host = LocalHost(prelude=prelude({"path": [str(folder)]}))
    assert (await host.run("only-there")).out == "found\n"
    queue = JobQueue(host, ProcessScheduler(), grace_s=1.0)
    made = batch(f"{tmp_path}/T/a1-x", 1, lambda i: ("only-there",))
    await queue.submit(made)
    assert [r.exit_code for r in await queue.wait(made.directory)] == [0]


async def test_a_profile_is_read_before_every_command_and_prints_nothing(tmp_path: Path) -> None:
    folder = program(tmp_path / "bin", "only-there", "echo found")
    profile = tmp_path / "pro file.sh"
    profile.write_text(f"echo welcome; set -C; export CDPATH=/ PATH={folder}:$PATH\n")
    host = LocalHost(prelude=prelude({"profile": str(profile)}))
    assert (await host.run(f"only-there >{tmp_path}/x; only-there >{tmp_path}/x; echo ${{CDPATH-no}}")).out == "no\n"
    assert (tmp_path / "x").read_text() == "found\n"
    lost = LocalHost(prelude=prelude({"profile": "/no/profile"}))
    result = await lost.run("echo never")
    assert (result.exit_code, result.out) == (127, "")
    assert result.err == "the profile /no/profile of the deployment cannot be read\n"


async def test_check_says_where_a_login_shell_finds_the_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = program(tmp_path / "slurm", "sbatch", "exit 0")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".profile").write_text(f"echo welcome; PATH={folder}:$PATH; export PATH\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv("PATH", str(path_without(tmp_path)))
    found = await check.check({"q": Deployment("q", "slurm", workdir=str(tmp_path))})
    (queue,) = [finding for finding in found if finding.what == "scheduler"]
    assert queue.hint == f"login shells find it: give the deployment `config: {{path: [{folder}]}}`"


def path_without(tmp_path: Path) -> Path:
    """A folder of the system's programs without Slurm's."""
    folder = tmp_path / "system"
    folder.mkdir()
    others = ("id", "uname", "nproc", "grep", "cat", "date", "setsid", "hostname", "rm", "mkdir")
    for name in (*site_probe.REQUIRED, *site_probe.OPTIONAL, *others):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return folder


def test_what_the_hybrid_file_says_of_it(tmp_path: Path) -> None:
    file = tmp_path / "streamflow.yml"

    def load(deployments: str) -> dict[str, Deployment]:
        text = "version: v1.0\nworkflows: {w: {type: cwl, config: {file: main.cwl}}}\ndeployments:\n"
        file.write_text(text + deployments)
        return dict(load_hybrid_file(str(file)).deployments)

    ssh = "  login: {type: ssh, config: {nodes: [me@host], path: /opt/slurm/bin, profile: ~/profile}}\n"
    assert load(ssh)["login"].config["path"] == ["/opt/slurm/bin"]
    assert load("  q: {type: slurm, config: {path: [/opt/slurm/bin]}}\n")["q"].config["path"] == ["/opt/slurm/bin"]
    with pytest.raises(ConfigError) as caught:
        load(f"{ssh}  q: {{type: slurm, wraps: login, config: {{path: /opt}}}}\n")
    assert str(caught.value) == (
        f"{file}:5: deployments.q.config.path: `path` belongs to what this wraps\n  -> give it to `login`"
    )
    with pytest.raises(ConfigError) as caught:
        load("  here: {type: local, config: {path: bin}}\n")
    assert str(caught.value) == (
        f"{file}:4: deployments.here.config.path: must be an absolute path at the location (or begin with ~/ or "
        "$NAME), without a colon"
    )
