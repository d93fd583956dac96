# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: what a job sees, and what nothing may change."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JobScript, StageEntry
from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import directory as job_directory
from airflow_hybrid.sites.batches.answers import parse_evidence
from airflow_hybrid.sites.batches.archive import archive
from airflow_hybrid.sites.batches.commands import evidence_command
from airflow_hybrid.sites.batches.directory import Batch, Ending
from airflow_hybrid.sites.batches.script import job_function
from tests.needs import unavailable
from tests.unit.sites.shell_hosts import EVERY_SHELL, batch, sh

PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ah_clean": "1"}
"""a runner whose environment is not clean begins again in /bin/sh"""
NASTY = 'it\'s "q" $HOME $(id) `id` \\ \\n ; & | > < * ? [a] {b} ~ # ! % é \U0001f600 \t\nsecond line\n'


def run(shell: str, made: Batch, *, environment: dict[str, str] | None = None, **more: object) -> Path:
    """Unpack the batch and run its runner in the foreground."""
    folder = unpacked(made, ProcessScheduler() if environment is None else SlurmScheduler(), **more)
    again(shell, folder, environment)
    return folder


def unpacked(made: Batch, scheduler: Scheduler, **more: object) -> Path:
    """The batch directory as a submit leaves it."""
    sub = job_directory.submission(made, host_cores=2, **more)
    data = archive(made, scheduler, sub)
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    folder = Path(made.directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(f"{MARKER_LINE}\n")
    subprocess.run(["tar", "-xof", "-"], cwd=folder, input=data, check=True)
    for name in ("c", "ec", *(f"{key}/{sub}" for key in made.keys for sub in ("out", "tmp"))):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def again(shell: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    argv = [sh(shell)]
    env = {**PLAIN, **(environment or {})}
    subprocess.run([*argv, str(folder / "runner.sh")], stdin=subprocess.DEVNULL, env=env, check=True)


@pytest.fixture(params=EVERY_SHELL)
def shell(request: pytest.FixtureRequest) -> str:
    """What ``/bin/sh`` is, from system to system."""
    return str(request.param)


def codes(folder: Path) -> dict[int, str]:
    return {int(p.name): p.read_text().split(" ")[0].strip() for p in (folder / "ec").iterdir()}


def test_arguments_reach_the_tool_unchanged(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T b'c $x \\/a", 1, lambda i: ("printf", "%s\\0", NASTY, "", "-n", "a b", "$x"))
    assert (run(shell, made) / "00000/stdout").read_bytes().split(b"\0") == [
        NASTY.encode(), b"", b"-n", b"a b", b"$x", b"",
    ]  # fmt: skip


def test_environment_is_that_of_cwl_and_values_are_literal(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("env", "-0"), job={"environment": {"NASTY": NASTY, "odd.name": "x"}})
    made = replace(made, jobs=(made.jobs[0], replace(made.jobs[1], environment={})))
    folder = run(shell, made)

    def seen(key: str) -> dict[str, str]:
        entries = (folder / key / "stdout").read_text().split("\0")[:-1]
        return dict(entry.split("=", 1) for entry in entries)

    first, second = seen("00000"), seen("00001")
    assert first["NASTY"] == NASTY and first["odd.name"] == "x"
    assert (first["HOME"], first["TMPDIR"]) == (f"{folder}/00000/out", f"{folder}/00000/tmp")
    assert "NASTY" not in second and second["HOME"] == f"{folder}/00001/out"
    assert not [name for name in first if name.startswith("ah_")]


def test_template_exports_and_queue_variables_are_kept(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("env",))
    folder = run(shell, made, environment={"SLURM_JOB_ID": "7", "MODULE": "gcc"})
    seen = (folder / "00000/stdout").read_text()
    assert "MODULE=gcc\n" in seen and "SLURM_JOB_ID=7\n" in seen
    assert (folder / "c/0").read_text() == "7\n"


def test_a_tool_that_reads_stdin_eats_nothing(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 5, lambda i: ("sh", "-c", f"cat; echo {i}")))
    assert [(folder / f"{i:05d}/stdout").read_text() for i in range(5)] == [f"{i}\n" for i in range(5)]


def test_streams_go_where_the_job_says(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "in $x\n"
    source.write_text("given")
    names = {"stdin": str(source), "stdout": "-o 'ü'\n.txt", "stderr": "sub dir/e"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "cat; echo bad >&2"), job=names))
    assert (folder / "00000/out" / names["stdout"]).read_text() == "given"
    assert (folder / "00000/out/sub dir/e").read_text() == "bad\n"


def test_one_file_may_take_both_streams(shell: str, tmp_path: Path) -> None:
    names = {"stdout": "log", "stderr": "log"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "echo a; echo b >&2; echo c"), job=names))
    assert (folder / "00000/out/log").read_text() == "a\nb\nc\n"


def test_exit_codes_signals_and_missing_commands_are_recorded(shell: str, tmp_path: Path) -> None:
    commands = [("true",), ("sh", "-c", "exit 7"), ("sh", "-c", "kill -9 $$"), ("no such $tool",), ("-x",), ("exit",)]
    folder = run(shell, batch(f"{tmp_path}/T/a", len(commands), lambda i: commands[i]))
    assert codes(folder) == {0: "0", 1: "7", 2: "137", 3: "127", 4: "127", 5: "127"}
    assert "no such $tool" in (folder / "00003/stderr").read_text()


def test_71_is_an_exit_code_like_any_other(shell: str, tmp_path: Path) -> None:
    assert codes(run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "exit 71")))) == {0: "71"}


def test_shell_text_runs_as_one_script(shell: str, tmp_path: Path) -> None:
    folder = run(
        shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("echo 'a  b' | tr a-z A-Z; exit 3",), job={"shell": True})
    )
    assert (folder / "00000/stdout").read_text() == "A  B\n"
    assert codes(folder) == {0: "3"}


def test_a_job_that_cannot_be_started_is_not_the_tools_failure(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, job={"stdin": "/nonexistent"}))
    assert (folder / "ec/0").read_text().startswith("- its input or output files")
    assert "/nonexistent" in (folder / "00000/stderr").read_text()


def test_a_tool_that_is_not_there_is_named_in_the_stderr_of_its_job(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("/no/such tool", "x"), job={"stderr": "own"}))
    assert codes(folder) == {0: "127"}
    assert "/no/such tool" in (folder / "00000/out/own").read_text()


def test_time_limit_ends_the_tool(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sleep", "60"), job={"walltime_s": 1}))
    code, hundredths, _ = (folder / "ec/0").read_text().split()
    # busybox's timeout gives the exit code of a tool that was ended
    assert code == ("143" if shell == "busybox" else "124") and 100 <= int(hundredths) < 600


def test_stage_entries_are_made_in_order(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "données"
    (source / "sub").mkdir(parents=True)
    (source / "sub/f").write_text("original")
    (source / "sub/f").chmod(0o444)
    (source / "link").symlink_to("sub/f")
    directory = f"{tmp_path}/T/a"
    out = f"{directory}/00000/out"
    stage = (
        StageEntry("mkdir", f"{out}/d"),
        StageEntry("file", f"{out}/d/run me.sh", text=b"#!/bin/sh\necho ran\n", executable=True),
        StageEntry("link", f"{out}/-in\n", source=f"{source}/sub/f"),
        StageEntry("copy", f"{out}/copy", source=str(source)),
        StageEntry("file", f"{out}/copy/new", text=b"\0\xff"),
        StageEntry("link", f"{out}/copy/sub/l", source=str(source)),
    )
    script = 'sh "d/run me.sh" && cat -- "./-in\n" && echo changed > copy/sub/f && echo changed > copy/link'
    folder = run(shell, batch(directory, 1, lambda i: ("sh", "-c", script), job={"stage": stage}))
    assert codes(folder) == {0: "0"}, (folder / "00000/stderr").read_text()
    assert (folder / "00000/stdout").read_text() == "ran\noriginal"
    assert (source / "sub/f").read_text() == "original"
    assert (folder / "00000/out/copy/new").read_bytes() == b"\0\xff"
    assert os.readlink(folder / "00000/out/copy/sub/l") == str(source)
    assert (folder / "00000/out/d/run me.sh").stat().st_mode & stat.S_IXUSR


def test_a_copy_has_what_links_lead_to_and_the_links_that_lead_nowhere(shell: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "f").write_text("original")
    (source / "file").symlink_to("sub/f")
    (source / "sub" / "dead 'end").symlink_to("nowhere")
    directory = f"{tmp_path}/T/a"
    out = f"{directory}/00000/out"
    stage = (StageEntry("copy", f"{out}/w", source=str(source)),)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "f").write_text("another")
    (source / "folder").symlink_to(linked)
    script = "echo changed > w/file && rm w/folder/f && ls w w/sub"
    folder = run(shell, batch(directory, 1, lambda i: ("sh", "-c", script), job={"stage": stage}))
    assert codes(folder) == {0: "0"}, (folder / "00000/stderr").read_text()
    assert (folder / "00000/stdout").read_text() == "w:\nfile\nfolder\nsub\n\nw/sub:\ndead 'end\nf\n"
    assert os.readlink(f"{out}/w/sub/dead 'end") == "nowhere"
    assert ((source / "sub" / "f").read_text(), (linked / "f").read_text()) == ("original", "another")


def test_a_copy_that_fails_says_so(shell: str, tmp_path: Path) -> None:
    directory = f"{tmp_path}/T/a"
    entry = StageEntry("copy", f"{directory}/00000/out/x", source="/nonexistent")
    folder = run(shell, batch(directory, 1, job={"stage": (entry,)}))
    assert (folder / "ec/0").read_text() == "- its working directory cannot be prepared\n"
    assert "/nonexistent" in (folder / "00000/stderr").read_text()


def test_many_jobs_each_run_once(shell: str, tmp_path: Path) -> None:
    folder = run(
        shell, batch(f"{tmp_path}/T/a", 150, lambda i: ("sh", "-c", f"echo {i} >>{shlex.quote(str(tmp_path))}/ran"))
    )
    assert sorted(map(int, (tmp_path / "ran").read_text().split())) == list(range(150))
    assert set(codes(folder).values()) == {"0"} and len(codes(folder)) == 150


def test_young_elements_take_further_jobs_and_old_ones_none(shell: str, tmp_path: Path) -> None:
    element = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "24"}
    packed = run(shell, batch(f"{tmp_path}/T/a", 8), environment=element)
    assert len(codes(packed)) == 8 and (packed / "c/all").exists()
    spread = run(shell, batch(f"{tmp_path}/T/b", 8), environment=element, pack_s=0)
    assert codes(spread) == {3: "0"}
    assert (spread / "c/3").read_text() == "20_3\n"


def test_a_requeued_element_begins_its_unfinished_jobs_anew(shell: str, tmp_path: Path) -> None:
    element = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "24"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 3), environment=element, pack_s=0)
    (folder / "ec/0").unlink()
    (folder / "00000/out/left over").touch()
    (folder / "c/1").write_text("20_1\n")
    again(shell, folder, {**element, "SLURM_RESTART_COUNT": "1"})
    assert codes(folder) == {0: "0"}
    assert not (folder / "00000/out/left over").exists()


def test_nothing_is_begun_after_the_task_was_cancelled(shell: str, tmp_path: Path) -> None:
    for scheduler, environment in ((ProcessScheduler(), {}), (SlurmScheduler(), ELEMENT)):
        folder = unpacked(batch(f"{tmp_path}/T/{scheduler.name}", 3), scheduler)
        (folder / "cancelled").touch()
        again(shell, folder, environment)
        assert codes(folder) == {}


def test_a_nul_in_an_argument_is_refused() -> None:
    with pytest.raises(CwlError, match="NUL"):
        job_function(0, JobScript(("echo", "a\0b"), "/o", "/t"))


ELEMENT = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "24"}


def test_an_element_ends_as_its_first_job_that_failed(shell: str, tmp_path: Path) -> None:
    for number, (codes_of_jobs, expected) in enumerate((((0, 4, 3), 3), ((0, 0), 0), ((7,), 7), ((127,), 127))):
        commands = [("sh", "-c", f"exit {code}") for code in codes_of_jobs]
        made = batch(f"{tmp_path}/T/{number}", len(commands), commands.__getitem__)
        folder = unpacked(made, SlurmScheduler())
        done = subprocess.run([sh(shell), f"{folder}/runner.sh"], env={**PLAIN, **ELEMENT}, check=False)
        assert done.returncode == expected


@pytest.mark.parametrize(("code", "expected"), [(99, 1), (100, 1), (98, 98)])
def test_exit_codes_that_mean_something_else_to_grid_engine_are_not_handed_to_it(
    code: int, expected: int, tmp_path: Path
) -> None:
    folder = unpacked(batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", f"exit {code}")), SgeScheduler())
    done = subprocess.run(["sh", f"{folder}/runner.sh"], env={**PLAIN, "JOB_ID": "5"}, check=False)
    assert (done.returncode, codes(folder)) == (expected, {0: str(code)})


def test_a_pod_ends_well_whatever_its_jobs_did(tmp_path: Path) -> None:
    folder = unpacked(batch(f"{tmp_path}/T/a", 1, lambda i: ("false",)), KubernetesScheduler())
    done = subprocess.run(["sh", f"{folder}/runner.sh"], env=PLAIN, check=False)
    assert (done.returncode, codes(folder)) == (0, {0: "1"})


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2", "XCPU"])
def test_a_runner_that_is_signalled_says_so_and_begins_nothing_more(shell: str, name: str, tmp_path: Path) -> None:
    began = shlex.quote(f"{tmp_path}/began")
    script = f"trap 'exit 0' {name}; : >{began}; while :; do sleep 0.05; done"
    folder = unpacked(batch(f"{tmp_path}/T/a", 2, lambda i: ("sh", "-c", script)), SlurmScheduler())
    number = getattr(signal, f"SIG{name}")
    # a shell traps no signal that was ignored when it began, as SIGHUP is where these tests run under nohup
    runner = subprocess.Popen(
        [sh(shell), f"{folder}/runner.sh"], env={**PLAIN, **ELEMENT}, stdin=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    try:
        while not (tmp_path / "began").exists():
            assert runner.poll() is None
            time.sleep(0.05)
        # as the scheduler does: to all processes of the element
        os.killpg(runner.pid, number)
        assert runner.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGKILL)
    ((*ending, _),) = [path.read_text().split() for path in (folder / "ec").iterdir()]
    assert (ending[0], ending[2:]) == ("0", [name])
    assert not (folder / "c/all").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_tool_that_hears_of_the_end_before_its_runner_does_is_doubted(shell: str, jobs: int, tmp_path: Path) -> None:
    # the first of two; what signals the runner stands for a scheduler that signals one process after the other
    script = "[ -e ../../first ] && exit 0; : >../../first; { sleep 0.05; kill -TERM $PPID; } >&- 2>&- & exit 0"
    made = batch(f"{tmp_path}/T/a", jobs, lambda i: ("sh", "-c", script if i == 0 else "sleep 0.3"))
    folder = run(shell, made, environment=ELEMENT)
    text = subprocess.run(["sh", "-c", evidence_command(str(folder), False)], capture_output=True, text=True).stdout
    endings = parse_evidence(text).endings
    assert {index: (ending.exit_code, ending.signal) for index, ending in endings.items()} == dict.fromkeys(
        range(jobs), (0, "TERM")
    )


def test_a_requeued_element_begins_a_job_anew_that_a_signal_ended(shell: str, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("true",))
    folder = run(shell, made, environment=ELEMENT, pack_s=0)
    for ending, expected in (("3 12 TERM\n", "0"), ("3 12\n", "3"), ("3 12 oom=1\n", "3"), ("- no Room\n", "-")):
        (folder / "ec/0").write_text(ending)
        (folder / "c/all").touch()
        again(shell, folder, {**ELEMENT, "SLURM_RESTART_COUNT": "1"})
        assert codes(folder)[0] == expected


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False).returncode:
        unavailable("this test", "the right to mount a tmpfs", "run it as root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_file_system_is_noted_behind_the_claims_and_nothing_more_is_begun(shell: str, small: Path) -> None:
    # job 0 fills it; job 2, of the same element, cannot be claimed
    fill = "dd if=/dev/zero of=big bs=4k 2>/dev/null; exit 5"
    folder = unpacked(batch(f"{small}/T/a", 3, lambda i: ("sh", "-c", fill)), SlurmScheduler())
    done = subprocess.run(
        [sh(shell), f"{folder}/runner.sh"], env={**PLAIN, **ELEMENT}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 74
    full = f"airflow_hybrid: the file system of {folder} is full\n"
    assert done.stderr == full * 2
    assert (folder / "disk").read_text() == "full\n"
    claim, ending = (folder / "c/0").read_text().splitlines()
    assert claim == "20_0" and re.fullmatch(r"ended 5 \d+ node=\S+", ending)
    assert (folder / "c/2").read_text() == "" and not (folder / "c/1").exists()
    text = subprocess.run(["sh", "-c", evidence_command(str(folder), False)], capture_output=True, text=True).stdout
    evidence = parse_evidence(text)
    assert evidence.disk_full and evidence.claims == {0: "20_0"}
    seconds = evidence.endings[0].seconds
    assert evidence.endings == {0: Ending(5, seconds, disk_full=True, node=os.uname().nodename)}


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[list[str]]:
    """A command that runs another one in a cgroup with 32 MiB of memory (v1 or v2)."""
    version_1 = Path("/sys/fs/cgroup/memory")
    group = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / f"ah-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = group / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")
        limit.write_text(str(32 << 20))
    except OSError as error:
        unavailable("this test", f"the right to make a cgroup with a memory limit ({error})", "run it as root")
    yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
    group.rmdir()


def test_processes_killed_for_lack_of_memory_are_counted(shell: str, limited: list[str], tmp_path: Path) -> None:
    eats = f"{sys.executable} -c 'bytearray(200 << 20)'; exit 0"
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("sh", "-c", eats if i else "exit 0"))
    folder = unpacked(made, SlurmScheduler())
    subprocess.run([*limited, sh(shell), f"{folder}/runner.sh"], env={**PLAIN, **ELEMENT}, check=True)
    endings = [(folder / f"ec/{i}").read_text().split()[:-1] for i in range(2)]
    assert [(ending[0], ending[2:]) for ending in endings] == [("0", []), ("0", ["oom=1"])]


@pytest.mark.parametrize("place", ["in.txt", "dir/in.txt"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_file_never_overwrites_an_input_that_is_staged_there(
    shell: str, tmp_path: Path, place: str, stream: str
) -> None:
    source = tmp_path / "inputs"
    source.mkdir()
    (source / "in.txt").write_text("precious")
    directory = f"{tmp_path}/T/a"
    entry = StageEntry("link", f"{directory}/00000/out/in.txt", source=f"{source}/in.txt")
    made = batch(directory, 1, job={"stage": (entry,), stream: place})
    if "/" in place:  # the archive would make the folder in which the link is to be
        job = made.jobs[0]
        made = replace(made, jobs=(replace(job, stage=(), stdout=None, stderr=None),))
        folder = run(shell, made)
        (folder / "00000/out/dir").symlink_to(source)
        (folder / "ec/0").unlink()
        (folder / "c/0").unlink()
        (folder / "jobs.0.sh").write_text(job_function(0, replace(job, stage=())))
        again(shell, folder)
    else:
        folder = run(shell, made)
    assert (source / "in.txt").read_text() == "precious"
    assert (folder / "ec/0").read_text() == "- its output file is, or lies in, an input: that would be overwritten\n"


@pytest.mark.parametrize("level", ["00001", "00001/out"])
def test_a_job_that_put_a_link_in_the_place_of_its_folder_begins_anew_in_none_of_ours(
    shell: str, tmp_path: Path, level: str
) -> None:
    element = {"SLURM_ARRAY_JOB_ID": "20", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "24"}
    folder = run(shell, batch(f"{tmp_path}/T/a", 2), environment=element, pack_s=0)
    victim = tmp_path / "victim"
    for name in ("out", "tmp"):
        (victim / name).mkdir(parents=True)
        (victim / name / "precious").write_text("precious")
    (folder / "c/1").write_text("20_0\n")
    shutil.rmtree(folder / level)
    (folder / level).symlink_to(victim)
    again(shell, folder, {**element, "SLURM_RESTART_COUNT": "1"})
    assert (victim / "out/precious").read_text() == (victim / "tmp/precious").read_text() == "precious"
    assert (folder / "ec/1").read_text() == (
        f"- it cannot begin anew: airflow_hybrid: not removed: {folder}/00001/out: a link is in its place\n"
    )
