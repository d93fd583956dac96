# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a document asks for, in the words of each queue system: units, rounding, per slot or in all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.base import Submission
from airflow_hybrid.schedulers.batch import BatchScheduler
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler, TorqueScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.schedulers.words import logged

DIALECTS: dict[str, BatchScheduler] = {
    "slurm": SlurmScheduler(),
    "openpbs": PbsScheduler(),
    "torque": TorqueScheduler(),
    "sge": SgeScheduler(),
    "flux": FluxScheduler(),
}
BATCH = Submission(directory="/w/T/a", name="n", jobs=1, options={"pe": "smp"})
PLAIN = Submission(directory="/w/T/a", name="n", jobs=1)


def asked(dialect: str, submission: Submission) -> str:
    """The words that the resources add to the command line."""
    scheduler = DIALECTS[dialect]
    base = replace(BATCH if dialect == "sge" else PLAIN)
    found = replace(submission, options={**base.options, **submission.options})
    command = scheduler.arguments if dialect != "flux" else super(FluxScheduler, FluxScheduler()).arguments
    words, without = command(found, 0), command(base, 0)
    return " ".join(word for word in words if word not in without or (word in ("-l",) and word in words))


def want(**values: Any) -> Resources:
    return Resources(**values, explicit=frozenset(values))


TABLE = {
    "a fraction of a core is a core": (
        want(cores=0.5),
        None,
        {"slurm": "--cpus-per-task=1", "openpbs": "-l select=1:ncpus=1", "torque": "-l nodes=1:ppn=1", "sge": "",
         "flux": "--cores-per-task=1"},
    ),
    "cores are rounded up": (
        want(cores=2.5),
        None,
        {"slurm": "--cpus-per-task=3", "openpbs": "-l select=1:ncpus=3", "torque": "-l nodes=1:ppn=3",
         "sge": "-pe smp 3", "flux": "--cores-per-task=3"},
    ),
    "memory is of the job, Grid Engine's per slot": (
        want(cores=3, ram_mib=1000),
        None,
        {"slurm": "--cpus-per-task=3 --mem=1000M", "openpbs": "-l select=1:ncpus=3:mem=1000mb",
         "torque": "-l nodes=1:ppn=3,mem=1000mb", "sge": "-pe smp 3 -l h_vmem=334M", "flux": "--cores-per-task=3"},
    ),
    "memory alone": (
        want(ram_mib=512),
        None,
        {"slurm": "--mem=512M", "openpbs": "-l select=1:ncpus=1:mem=512mb", "torque": "-l mem=512mb",
         "sge": "-l h_vmem=512M", "flux": ""},
    ),
    "a time limit has room for packing": (
        want(),
        3600,
        {"slurm": "--time=61", "openpbs": "-l walltime=3640", "torque": "-l walltime=3640", "sge": "-l h_rt=3640",
         "flux": "--time-limit=3640s"},
    ),
    "GPUs": (
        want(gpus=2),
        None,
        {"slurm": "--gpus=2", "openpbs": "-l select=1:ncpus=1:ngpus=2", "torque": "-l nodes=1:ppn=1:gpus=2",
         "sge": "-l gpu=2", "flux": "--gpus-per-task=2"},
    ),
    "processes, with cores and a share of the memory each": (
        want(processes=4, cores=2, ram_mib=1001),
        None,
        {"slurm": "--ntasks=4 --cpus-per-task=2 --mem-per-cpu=126M",
         "openpbs": "-l select=4:ncpus=2:mem=251mb:mpiprocs=1", "torque": "-l nodes=4:ppn=2,mem=1001mb",
         "sge": "-pe smp 8 -l h_vmem=126M", "flux": "--cores-per-task=8"},
    ),
    "temporary and output space is that of the work directory": (
        want(tmpdir_mib=5000, outdir_mib=5000),
        None,
        dict.fromkeys(DIALECTS, ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", TABLE)
def test_requests(case: str, dialect: str) -> None:
    resources, walltime_s, expected = TABLE[case]
    assert asked(dialect, replace(PLAIN, resources=resources, walltime_s=walltime_s)) == expected[dialect]


@pytest.mark.parametrize(
    ("dialect", "options"),
    [
        ("slurm", {"ntasks": 8, "cpusPerTask": 1, "memPerCpu": "2G", "gpusPerNode": "a100:1", "time": 5}),
        ("openpbs", {"resources": {"select": "2:ncpus=8:mem=1gb:ngpus=1", "walltime": "1:00:00"}}),
        ("torque", {"resources": {"nodes": "2:ppn=8", "walltime": "1:00:00"}}),
        ("sge", {"pe": "mpi 16", "resources": {"h_vmem": "1G", "h_rt": "1:0:0", "gpu": 1}}),
        ("flux", {"coresPerTask": 8, "gpusPerTask": 1, "timeLimit": "1h"}),
    ],
)
def test_what_the_service_says_wins(dialect: str, options: dict[str, object]) -> None:
    everything = want(processes=2, cores=2, ram_mib=100, gpus=2)
    without = asked(dialect, replace(PLAIN, options=options))
    assert asked(dialect, replace(PLAIN, options=options, resources=everything, walltime_s=60)) == without


@pytest.mark.parametrize(
    ("dialect", "line"),
    [
        ("slurm", "#SBATCH -n 8 -c 1 --mem=1G -G 1 -t 5"),
        ("openpbs", "#PBS -l select=2:ncpus=8:mem=1gb:ngpus=1,walltime=1:00:00"),
        ("torque", "#PBS -lnodes=2:ppn=8 -l walltime=1:00:00"),
        ("sge", "#$ -pe mpi 16 -l h_vmem=1G,h_rt=3600,gpu=1"),
        ("flux", "#flux: -c 8 -g 1 -t 1h"),
    ],
)
def test_what_a_template_s_directives_say_wins(dialect: str, line: str) -> None:
    template = f"#!/bin/sh\n{line}\n{{{{streamflow_command}}}}\n"
    everything = want(processes=2, cores=2, ram_mib=100, gpus=2)
    without = asked(dialect, replace(PLAIN, template=template))
    assert asked(dialect, replace(PLAIN, template=template, resources=everything, walltime_s=60)) == without


def test_flux_has_directives_passed_on_as_it_reads_none_of_a_script() -> None:
    template = "#!/bin/bash\n#flux: --queue=long -N1\n{{streamflow_command}}\n"
    files = FluxScheduler().scripts(replace(PLAIN, template=template, jobs=3))
    assert "--queue=long -N1" in files["submit.0.sh"] and "/bin/bash /w/T/a/batch.0.sh" in files["submit.0.sh"]
    assert "--cc=$#-$((ah_n - 1))" in files["submit.0.sh"] and "ah_n=3\n" in files["submit.0.sh"]


def test_other_resources_of_a_grid_engine_are_named_in_the_service() -> None:
    options = {"memory": "mem_free", "gpu": "cuda"}
    assert (
        asked("sge", replace(PLAIN, options=options, resources=want(ram_mib=9, gpus=1))) == "-l mem_free=9M -l cuda=1"
    )


@pytest.mark.parametrize(
    ("first", "is_shell"),
    [
        ("#!/bin/sh", True), ("#!/bin/bash -l", True), ("#!/usr/bin/env bash", True),
        ("#!/usr/bin/env -S zsh -f", True), ("#!/bin/csh", False), ("#!/usr/bin/fish", False),
        ("#!/usr/bin/python3", False),
    ],
)  # fmt: skip
def test_output_goes_to_the_log_from_the_first_command_on(first: str, is_shell: bool) -> None:
    script = f"{first}\n#PBS -q long\n\n# why\nmodule load x\n"
    expected = f"{first}\n#PBS -q long\n\n# why\nexec >>'/a b/log' 2>&1\nmodule load x\n"
    assert logged(script, "/a b/log") == (expected if is_shell else script)


def test_what_flux_lists_among_all_jobs_is_alive_though_the_list_of_active_ones_lacks_it() -> None:
    text = "#queue\n#rc 0\n#accounting\nstep-0|123|RUN|||| node1\n#rc 0\n"
    account = FluxScheduler().parse_account(text, ["step-0"])
    assert account.elements["123"].state is JobState.RUNNING
