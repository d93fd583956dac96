# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A local deployment as another Unix user, or in containers only; the users are made for the test and removed."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment, load_hybrid_file
from airflow_hybrid.errors import ConfigError, SiteError, UnsupportedError
from airflow_hybrid.model import Target
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.hosts.user import UserHost
from tests import needs
from tests.containers.engine import Bench, text_of
from tests.unit.sites.shell_hosts import batch

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements:
  ShellCommandRequirement: {}
  InitialWorkDirRequirement: {listing: [{entryname: made, entry: text}]}
inputs: {f: File}
outputs: {o: stdout, d: {type: Directory, outputBinding: {glob: d}}}
stdout: o
arguments: [{shellQuote: false, valueFrom: "id -un; cat made $(inputs.f.path); mkdir d; echo x >d/x; chmod go= d"}]
"""


def of_users(*command: str) -> None:
    """Change the users, one process after the other: the tools do not wait for each other's lock."""
    subprocess.run(["flock", "/run/airflow_hybrid-tests.lock", *command], check=True, capture_output=True)


@pytest.fixture
def user() -> Iterator[str]:
    needs.root("make a user")
    needs.program("useradd")
    name = f"ah-{secrets.token_hex(4)}"
    of_users("useradd", "--system", "--create-home", "--shell", "/bin/sh", name)
    yield name
    uid = pwd.getpwnam(name).pw_uid
    shutil.rmtree(f"/tmp/airflow_hybrid-{uid}", ignore_errors=True)
    of_users("userdel", "--remove", name)


def bench_of(tmp_path: Path, deployment: Deployment) -> Bench:
    return Bench(tmp_path, {deployment.name: deployment}, Target(deployment.name))


async def test_commands_are_those_of_the_user(user: str) -> None:
    host = UserHost("lab", user, 2)
    account = pwd.getpwnam(user)
    said = (await host.run('id -u; id -g; id -G; pwd; echo "$HOME $USER $LOGNAME"')).out.split("\n")
    assert said == [
        f"{account.pw_uid}",
        f"{account.pw_gid}",
        f"{account.pw_gid}",
        "/",
        f"{account.pw_dir} {user} {user}",
        "",
    ]
    refused = await host.run("cat /etc/shadow")
    assert (refused.exit_code, refused.out) == (1, "")


@pytest.mark.parametrize("size", [10, 300_000])
async def test_text_and_stdin_of_any_length_arrive(user: str, size: int) -> None:
    host = UserHost("lab", user, 2)
    result = await host.run(f"# {'x' * size}\ncat; exit 3", stdin=b"a\0b")
    assert (result.exit_code, result.stdout) == (3, b"a\0b")
    async with host.stream(f"# {'x' * size}\ncat") as stream:
        await stream.write(b"c\n")
        assert await stream.read() == b"c\n"
        assert (await stream.close()).exit_code == 0


def test_a_step_runs_as_the_user_and_its_outputs_come_back(tmp_path: Path, user: str) -> None:
    bench = bench_of(tmp_path, Deployment("lab", "local", {"run_as": user}))
    (tmp_path / "input").write_text("input\n")
    (tmp_path / "input").chmod(0o600)  # only Airflow's own user reads it: it is brought there
    result = bench.run(TOOL, {"f": {"class": "File", "location": (tmp_path / "input").as_uri()}})
    assert text_of(result["o"]) == f"{user}\ntextinput\n"
    work = Path(pwd.getpwnam(user).pw_dir, "airflow_hybrid")
    owners = {path.stat().st_uid for path in [work, *work.rglob("*")]}
    assert owners == {pwd.getpwnam(user).pw_uid}
    assert work.stat().st_mode & 0o777 == 0o700


async def test_cancelling_and_a_command_without_end(tmp_path: Path, user: str) -> None:
    host = UserHost("lab", user, 2)
    workdir = f"{pwd.getpwnam(user).pw_dir}/w"
    queue = JobQueue(host, ProcessScheduler(), grace_s=1.0)
    made = batch(f"{workdir}/d/r/t/g0/a1-x", 1, lambda i: ("sleep", "600"))
    await queue.submit(made)
    while (await host.run(f"cat {made.directory}/c/0 2>/dev/null")).out == "":
        await asyncio.sleep(0.1)
    await queue.cancel(f"{workdir}/d/r/t/g0")
    assert (await host.run("ps -o args= -u $(id -u) | grep -c '[s]leep 600'")).out == "0\n"
    with pytest.raises(SiteError, match=r"no answer within 0.5 s"):
        await host.run("sleep 601 & sleep 601", timeout_s=0.5)
    assert (await host.run("ps -o args= -u $(id -u) | grep -c '[s]leep 601'")).out == "0\n"
    await host.run(f"rm -rf {workdir}")


async def test_whoever_is_not_there_and_root(user: str) -> None:
    for name, message in (
        (
            "nobody-there",
            "lab (localhost as nobody-there): there is no user 'nobody-there' on this machine\n  -> create the user on "
            "every machine that runs Airflow's workers and triggerers, or name another one",
        ),
        ("root", "lab (localhost as root): the user 'root' is root: `run_as` needs a user with fewer rights"),
    ):
        with pytest.raises(SiteError) as caught:
            await UserHost("lab", name).run("id")
        assert str(caught.value) == message


async def test_a_queue_on_this_machine_keeps_the_user(user: str) -> None:
    sites = {"lab": Deployment("lab", "local", {"run_as": user}), "q": Deployment("q", "slurm", wraps="lab")}
    (host,) = await open_connector(sites, "q").hosts()
    assert (await host.run("id -un")).out == f"{user}\n"


# --- by sudo, where Airflow is not root -----------------------------------------------------------------------------


async def tried(user: str) -> str:
    """What a process says that runs commands as ``user``, and one that does not end."""
    host = UserHost("lab", user, 2)
    try:
        said = (await host.run(f"# {'x' * 70_000}\nid -un; echo $HOME; cat", stdin=b"in\n")).out
    except SiteError as error:
        return str(error)
    with pytest.raises(SiteError):
        await host.run("sleep 602 & sleep 602", timeout_s=1)
    return said + (await host.run("ps -o args= -u $(id -u) | grep -c '[s]leep 602'")).out


def as_user(name: str, user: str) -> str:
    """:func:`tried` in a process of the user ``name``: a fork, since that user need not be able to read Python."""
    account = pwd.getpwnam(name)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.chdir("/")
        os.environ["HOME"] = account.pw_dir
        try:
            said = asyncio.run(tried(user))
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def airflow_user(user: str) -> Iterator[str]:
    """Another user, who may become the first by sudo once :func:`allow` was called."""
    needs.program("sudo")
    name = f"{user}-a"
    of_users("useradd", "--system", "--create-home", "--shell", "/bin/sh", name)
    yield name
    Path(f"/etc/sudoers.d/{name}").unlink(missing_ok=True)
    of_users("userdel", "--remove", name)


def test_sudo_gives_the_rights_or_says_what_is_missing(user: str, airflow_user: str) -> None:
    hint = f"sudoers: `{airflow_user} ALL=({user}) NOPASSWD: /usr/bin/env, /bin/kill`"
    assert as_user(airflow_user, user) == (
        f"lab (localhost as {user}): {airflow_user} may not run commands as {user}: sudo: a password is required\n"
        f"  -> {hint}"
    )
    rule = Path(f"/etc/sudoers.d/{airflow_user}")
    rule.write_text(hint.split("`")[1] + "\n")
    rule.chmod(0o440)
    assert as_user(airflow_user, user) == f"{user}\n{pwd.getpwnam(user).pw_dir}\nin\n0\n"


# --- containers only ------------------------------------------------------------------------------------------------


def test_a_tool_without_a_container_is_refused_where_containers_are_required(tmp_path: Path) -> None:
    local = Deployment("lab", "local", workdir=str(tmp_path / "w"), containers={"required": True})
    tool = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: id\ninputs: []\noutputs: []\n"
    with pytest.raises(UnsupportedError) as caught:
        bench_of(tmp_path, local).run(tool)
    assert str(caught.value) == (
        "lab (localhost): step /main asks for no container, but jobs of this deployment run only in containers\n"
        "  -> give the tool a DockerRequirement, or the deployment an image for such steps: "
        "`containers: {required: true, image: ...}`"
    )
    assert list((tmp_path / "w").rglob("jobs.sh")) == []


@pytest.mark.parametrize("hints", ["", "hints: {DockerRequirement: {dockerPull: 'localhost/ah-no/such:1'}}\n"])
def test_nothing_runs_beside_a_container_where_there_is_no_runtime(tmp_path: Path, hints: str) -> None:
    local = Deployment(
        "lab", "local", workdir=str(tmp_path / "w"),
        containers={"required": True, "runtime": "none", "image": "localhost/ah-no/such:1"},
    )  # fmt: skip
    tool = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: id\ninputs: []\noutputs: []\n"
    with pytest.raises(UnsupportedError) as caught:
        bench_of(tmp_path, local).run(tool + hints)
    assert str(caught.value) == (
        "lab (localhost): the step requires a container (localhost/ah-no/such:1), and `containers` of deployment 'lab' "
        "is `none`\n  -> name a runtime there, bind the step to another deployment, or make DockerRequirement a hint"
    )


# --- the hybrid file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        (
            "local: {type: local, config: {run_as: lab}}",
            "local.config.run_as: `local` is Airflow's own user, who reads its files\n  -> give this deployment "
            "another name, and bind steps to it",
        ),
        (
            "lab: {type: local, config: {run_as: '-u root'}}",
            "lab.config.run_as: string should match pattern '^[a-z_][a-z0-9_-]{0,31}$', got '-u root'",
        ),
    ],
)
def test_what_run_as_may_be(tmp_path: Path, deployment: str, said: str) -> None:
    file = tmp_path / "streamflow.yml"
    file.write_text(
        f"version: v1.0\nworkflows: {{w: {{type: cwl, config: {{file: main.cwl}}}}}}\ndeployments:\n  {deployment}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_hybrid_file(str(file))
    assert str(caught.value) == f"{file}:4: deployments.{said}"


def test_a_home_of_the_user_is_the_user_s(tmp_path: Path) -> None:
    file = tmp_path / "streamflow.yml"
    file.write_text(
        "version: v1.0\nworkflows: {w: {type: cwl, config: {file: main.cwl}}}\n"
        "deployments: {lab: {type: local, workdir: ~/jobs, config: {run_as: lab}}}\n"
    )
    assert load_hybrid_file(str(file)).deployments["lab"].workdir == "~/jobs"
