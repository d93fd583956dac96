# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The runner in real shells: the memory that each job used, where something can tell."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites import batches
from airflow_hybrid.sites.batches.answers import parse_evidence
from airflow_hybrid.sites.batches.commands import evidence_command
from airflow_hybrid.sites.batches.directory import Ending
from tests import needs
from tests.unit.sites.batches.runner.runners import ELEMENT, PLAIN, again, unpacked
from tests.unit.sites.shell_hosts import batch, sh

MEMORY_SH = (Path(batches.__file__).parent / "shell/memory.sh").read_text()
EATS = f"{sys.executable} -c 'bytearray(100 << 20)'"
MORE = {0: f"{EATS}; exit 3", 1: "exit 0", 2: "kill -9 $$"}


@dataclass(frozen=True)
class Element:
    """An element of an array, and its cgroup.

    :ivar cgroup: what the kernel says is its cgroup; ``peak``: where there is a file, in place of the kernel's.
    :ivar mounted: the cgroup (v1) that a container sees as the root.
    """

    scheduler: Scheduler
    environment: dict[str, str]
    cgroup: str
    peak: str
    mounted: str = "/"


@pytest.fixture
def plain() -> Iterator[Path]:
    """A folder whose name can stand in shell text as it is."""
    with tempfile.TemporaryDirectory(prefix="airflow_hybrid-") as folder:
        yield Path(folder)


def endings(folder: Path) -> dict[int, Ending]:
    text = subprocess.run(["sh", "-c", evidence_command(str(folder), False)], capture_output=True, text=True).stdout
    return dict(parse_evidence(text).endings)


def host_batch(tmp_path: Path, time: str) -> Path:
    """A batch for a host whose time(1) is the given program; one worker takes its jobs."""
    folder = unpacked(
        batch(f"{tmp_path}/T/a", 3, lambda i: ("sh", "-c", MORE[i])), ProcessScheduler(), max_concurrent=1
    )
    runner = folder / "runner.sh"
    runner.write_text(runner.read_text().replace("/usr/bin/time", time))
    return folder


def test_a_host_s_jobs_are_measured_by_the_time_of_gnu(shell: str, tmp_path: Path) -> None:
    needs.program("/usr/bin/time")
    folder = host_batch(tmp_path, "/usr/bin/time")
    again(shell, folder)
    ended = endings(folder)
    assert [ended[index].exit_code for index in range(3)] == [3, 0, 137]
    used = [ended[index].memory_used_mib or 0 for index in range(3)]
    assert 100 <= used[0] <= 200 and 1 <= used[1] <= 20 and 1 <= used[2] <= 20
    assert (folder / "00000/stderr").read_text() == "" and (folder / "00002/stderr").read_text() == ""


def test_an_element_of_flux_is_measured_by_the_time_of_gnu(shell: str, plain: Path, tmp_path: Path) -> None:
    needs.program("/usr/bin/time")
    eats = f"{sys.executable} -c 'bytearray(100 << 20); sum(range(20_000_000))'"
    folder = unpacked(batch(f"{tmp_path}/T/a", 2, lambda i: ("sh", "-c", ("exit 3", eats)[i])), FluxScheduler())
    runner = folder / "runner.sh"
    runner.write_text(runner.read_text().replace("/tmp/airflow_hybrid-", f"{plain}/own-"))
    environment = {**PLAIN, "FLUX_JOB_ID": "f7", "FLUX_JOB_CC": "0"}
    end = subprocess.run([sh(shell), str(runner)], env=environment, stdin=subprocess.DEVNULL, check=False)
    ended = endings(folder)
    assert (end.returncode, ended[0].exit_code, ended[1].exit_code) == (3, 3, 0)
    used = [ended[index].memory_used_mib or 0 for index in range(2)]
    assert 1 <= used[0] <= 20 and 100 <= used[1] <= 200
    assert (ended[1].cpu_s or 0) > 0.1 > (ended[0].cpu_s or 0)
    assert list(plain.glob("own-*/*")) == []


def test_a_time_that_counts_four_times_as_much_is_noticed(shell: str, plain: Path, tmp_path: Path) -> None:
    needs.program("/usr/bin/time")
    old = plain / "time"
    old.write_text('#!/bin/sh\n/usr/bin/time "$@"\ncode=$?\nn=$(tail -n 1 "$4")\necho $((n * 4)) >"$4"\nexit $code\n')
    old.chmod(0o755)
    folder = host_batch(tmp_path, str(old))
    again(shell, folder)
    used = endings(folder)[0].memory_used_mib
    assert used is not None and 100 <= used <= 200


@pytest.mark.parametrize("time", ["busybox", "nothing", "silent"])
def test_a_time_that_is_not_to_be_trusted_is_not_used(shell: str, time: str, plain: Path, tmp_path: Path) -> None:
    program = plain / "time"
    if time != "nothing":  # busybox's tells a signal as exit code 9
        program.write_text(
            f'#!/bin/sh\nexec {needs.program("busybox")} time "$@"\n'
            if time == "busybox"
            else '#!/bin/sh\nshift 4\n"$@"\n'
        )
        program.chmod(0o755)
    folder = host_batch(tmp_path, str(program))
    again(shell, folder)
    ended = endings(folder)
    assert {index: (ending.exit_code, ending.memory_used_mib) for index, ending in ended.items()} == {
        0: (3, None), 1: (0, None), 2: (137, None),
    }  # fmt: skip


SLURM_GROUP = "0::/slurm/job_24/step_batch/user/task_0"
V1_GROUP = "/slurm/uid_7/job_24/step_batch/task_0"
V1 = "memory.max_usage_in_bytes"
PBS = {"PBS_JOBID": "18[0].pbs", "PBS_ARRAY_INDEX": "0"}
PBS_GROUP = "pbs_jobs.service/jobid/18[0].pbs"


def test_the_peak_of_a_job_counts_what_srun_starts_in_another_step(plain: Path) -> None:
    steps = {"job_24/step_batch/user/task_0": 20, "job_24/step_batch": 21, "job_24": 15234, "": 99999}
    for name, mib in steps.items():
        file = plain / "slurm" / name / "memory.peak"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{mib << 20}\n")
    (plain / "cgroup").write_text(f"{SLURM_GROUP}\n")
    functions = MEMORY_SH.replace("/sys/fs/cgroup ", f"{plain} ").replace("/proc/self/cgroup", str(plain / "cgroup"))
    text = f"{functions}\nah_find_peak /job_24/; echo $ah_peak"
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=True, text=True)
    assert done.stdout == f"{plain}/slurm/job_24/memory.peak\n"


@pytest.mark.parametrize(
    ("element", "is_own"),
    [
        (Element(KubernetesScheduler(), {}, "0::/", "memory.peak"), True),
        (Element(KubernetesScheduler(), {}, "4:memory:/x\n0::/", "memory.peak"), True),
        (Element(KubernetesScheduler(), {}, "0::/../other", "memory.peak"), False),
        (Element(KubernetesScheduler(), {}, "4:memory:/\n0::/", "nothing"), False),
        (Element(SlurmScheduler(), ELEMENT, SLURM_GROUP, "slurm/job_24/memory.peak"), True),
        (Element(SlurmScheduler(), ELEMENT, SLURM_GROUP, "slurm/memory.peak"), False),
        (Element(SlurmScheduler(), ELEMENT, "0::/slurm/job_245/step_batch", "slurm/job_245/memory.peak"), False),
        (Element(SlurmScheduler(), ELEMENT, "0::/system.slice/slurmd.service", "memory.peak"), False),
        (Element(SlurmScheduler(), ELEMENT, f"4:cpu,memory:{V1_GROUP}\n0::/", f"memory{V1_GROUP}/{V1}"), True),
        (Element(SlurmScheduler(), ELEMENT, f"4:memory:{V1_GROUP}\n0::/", f"memory/slurm/uid_7/job_24/{V1}"), True),
        (Element(SlurmScheduler(), ELEMENT, f"4:memory:{V1_GROUP}\n0::/", f"memory/slurm/uid_7/{V1}"), False),
        (Element(SlurmScheduler(), ELEMENT, f"4:memoryless:{V1_GROUP}\n0::/", f"memory{V1_GROUP}/{V1}"), False),
        (Element(KubernetesScheduler(), {}, "4:memory:/\n0::/", f"memory/{V1}"), True),
        (Element(KubernetesScheduler(), {}, "4:memory:/kube/pod7\n0::/", f"memory/{V1}", "/kube/pod7"), True),
        (Element(KubernetesScheduler(), {}, "4:memory:/kube/pod7\n0::/", f"memory/{V1}", "/kube"), False),
        (Element(PbsScheduler(), PBS, f"0::/{PBS_GROUP}", f"{PBS_GROUP}/memory.peak"), True),
    ],
)
def test_the_peak_of_an_element_s_own_cgroup_is_that_of_the_job_that_raised_it(
    shell: str, element: Element, is_own: bool, plain: Path, tmp_path: Path
) -> None:
    file = plain / element.peak
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("1000000\n")
    (plain / "cgroup").write_text(f"{element.cgroup}\n")
    # an element takes its own job first, and then those at the end
    peaks = {0: (200 << 20) + 1, 2: (200 << 20) + 1, 1: 300 << 20}
    made = batch(f"{tmp_path}/T/a", 3, lambda i: ("sh", "-c", f"echo {peaks[i]} >'{file}'"))
    folder = unpacked(made, element.scheduler)
    runner = folder / "runner.sh"
    text = re.sub("/sys/fs/cgroup(?=[/ ])", str(plain), runner.read_text())
    (plain / "mounts").write_text(f"30 25 0:25 {element.mounted} {plain}/memory ro - cgroup cgroup rw,memory\n")
    text = text.replace("/proc/self/mountinfo", str(plain / "mounts"))
    runner.write_text(text.replace("/proc/self/cgroup", str(plain / "cgroup")))
    environment = {**PLAIN, **element.environment}
    subprocess.run([sh(shell), str(runner)], env=environment, stdin=subprocess.DEVNULL, check=True)
    ended = endings(folder)
    expected = {0: 201, 2: None, 1: 300} if is_own else dict.fromkeys(range(3))
    assert {index: ending.memory_used_mib for index, ending in ended.items()} == expected
