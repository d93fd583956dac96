# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: signals, limits, full file systems and lack of memory."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.answers import parse_evidence
from airflow_hybrid.sites.batches.commands import evidence_command
from airflow_hybrid.sites.batches.directory import Ending
from tests.needs import unavailable
from tests.unit.sites.batches.runner.runners import ELEMENT, PLAIN, noticed, run, unpacked
from tests.unit.sites.shell_hosts import batch, sh


def test_time_limit_ends_the_tool(shell: str, tmp_path: Path) -> None:
    folder = run(shell, batch(f"{tmp_path}/T/a", 1, lambda i: ("sleep", "60"), job={"walltime_s": 1}))
    code, hundredths, *_ = (folder / "ec/0").read_text().split()
    # the timeout of busybox's shell gives the exit code of a tool that was ended; time(1) starts the one of the system
    assert code in (("143", "124") if shell == "busybox" else ("124",)) and 100 <= int(hundredths) < 600


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
    (ended,) = (folder / "ec").iterdir()
    assert noticed(ended) == ("0", [name])
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
    assert claim == "20_0" and re.fullmatch(r"ended 5 \d+ node=\S+ at=\d+ cpu=\d+", ending)
    assert (folder / "c/2").read_text() == "" and not (folder / "c/1").exists()
    text = subprocess.run(["sh", "-c", evidence_command(str(folder), False)], capture_output=True, text=True).stdout
    evidence = parse_evidence(text)
    assert evidence.disk_full and evidence.claims == {0: "20_0"}
    (found,) = evidence.endings.values()
    expected = Ending(5, found.seconds, disk_full=True, node=os.uname().nodename, began=found.began, cpu_s=found.cpu_s)
    assert evidence.endings == {0: expected}


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
    assert [noticed(folder / f"ec/{i}") for i in range(2)] == [("0", []), ("0", ["oom=1"])]


def test_when_a_job_ran_and_what_it_used_are_noted(shell: str, tmp_path: Path) -> None:
    # the second one works in a child process, and after a job that did nothing
    work = f"{sys.executable} -c 'import time; list(iter(lambda: time.process_time() > 0.5, True))'"
    made = batch(f"{tmp_path}/T/a", 3, lambda i: ("sh", "-c", [": ", f"{work}; :", "sleep 0.3"][i]))
    folder = unpacked(made, SlurmScheduler())
    before = time.time()
    subprocess.run([sh(shell), f"{folder}/runner.sh"], env={**PLAIN, **ELEMENT}, check=True)
    after = time.time()
    text = subprocess.run(["sh", "-c", evidence_command(str(folder), False)], capture_output=True, text=True).stdout
    idle, busy, sleeping = (parse_evidence(text).endings[index] for index in range(3))
    for ending in (idle, busy, sleeping):
        assert ending.began is not None and ending.seconds is not None and ending.cpu_s is not None
        assert before - 1.1 <= ending.began <= ending.began + ending.seconds <= after + 1.1  # clocks show whole seconds
    assert busy.cpu_s is not None and 0.4 <= busy.cpu_s <= 60
    assert idle.cpu_s is not None and sleeping.cpu_s is not None and idle.cpu_s + sleeping.cpu_s < busy.cpu_s
    assert sleeping.seconds is not None and sleeping.seconds >= 0.29
