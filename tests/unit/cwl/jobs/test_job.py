# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One job: what it asks for, its command line over remote paths, and what its exit codes mean."""

from __future__ import annotations

import pytest

from airflow_hybrid.cwl.jobs.job import Grant
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FactsNeeded, FileFact, Question, Resources, SiteFacts
from tests.raising import raising
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.jobs.pending_jobs import DIR, JS, ONE, TOOL, file, pending


def test_shell_commands_are_one_text_quoted_by_cwltool(bench: Bench) -> None:
    text = "class: CommandLineTool\nrequirements: {ShellCommandRequirement: {}}\ninputs: {x: string}\noutputs: {}\n"
    text += 'arguments: [echo, $(inputs.x), {valueFrom: "|", shellQuote: false}, cat]\n'
    script = pending(bench, text, {"x": "a b; rm"}).build(DIR, {}, SiteFacts())
    assert script.shell
    assert script.command == ("echo 'a b; rm' | cat",)


def test_environment_streams_and_time_limit_are_handed_over_unquoted(bench: Bench) -> None:
    text = ONE.replace("inputBinding: {}", "") + (
        "stdin: $(inputs.x.path)\nstdout: o/$(inputs.x.nameroot)\nstderr: e\n"
        "requirements:\n  EnvVarRequirement: {envDef: {A: \"$(inputs.x.basename) 'q' $HOME\"}}\n"
        "  ToolTimeLimit: {timelimit: 9}\n"
    )
    script = pending(bench, text, {"x": file()}).build(DIR, {file()["location"]: "/s/a.txt"}, SiteFacts())
    assert script.environment["A"] == "a.txt 'q' $HOME"
    assert (script.stdin, script.stdout, script.stderr, script.walltime_s) == ("/s/a.txt", "o/a", "e", 9)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("", Resources()),
        ("coresMin: 2, ramMin: 1000.5", Resources(2, 1001, explicit=frozenset({"cores", "ram_mib"}))),
        ("coresMax: 3", Resources(3, explicit=frozenset({"cores"}))),
        ("coresMin: $(inputs.n)", Resources(4, explicit=frozenset({"cores"}))),
    ],
)
def test_resources_are_evaluated_before_placement(bench: Bench, requirement: str, expected: Resources) -> None:
    text = TOOL + f"inputs: {{n: int}}\noutputs: {{}}\nrequirements: {{ResourceRequirement: {{{requirement}}}}}\n"
    assert pending(bench, text, {"n": 4}).resources == expected


@pytest.mark.parametrize("requirement", ["coresMin: 2, coresMax: 1", "coresMin: $(inputs.n), coresMax: 1"])
def test_a_maximum_below_the_minimum_is_an_error(bench: Bench, requirement: str) -> None:
    text = TOOL + f"inputs: {{n: int}}\noutputs: {{}}\nrequirements: {{ResourceRequirement: {{{requirement}}}}}\n"
    job = pending(bench, text, {"n": 2})
    with raising(CwlError, f"{job.label}: coresMax is 1, less than coresMin, which is 2"):
        assert job.resources


EXTENDED = '$namespaces: {cwltool: "http://commonwl.org/cwltool#"}\n' + TOOL + "inputs: {n: int}\noutputs: {}\n"


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ("cwltool:MPIRequirement: {processes: 4}", Resources(processes=4, explicit=frozenset({"processes"}))),
        ("cwltool:MPIRequirement: {processes: $(inputs.n)}", Resources(processes=3, explicit=frozenset({"processes"}))),
        (
            "cwltool:CUDARequirement: {cudaVersionMin: '11', cudaComputeCapability: '3.0', cudaDeviceCountMin: 2}",
            Resources(gpus=2, explicit=frozenset({"gpus"})),
        ),
        (
            "cwltool:CUDARequirement: {cudaVersionMin: '11', cudaComputeCapability: '3.0'}",
            Resources(gpus=1, explicit=frozenset({"gpus"})),
        ),
    ],
)
def test_processes_and_gpus_of_cwltool_s_extensions(bench: Bench, requirements: str, expected: Resources) -> None:
    assert pending(bench, f"{EXTENDED}requirements: {{{requirements}}}\n", {"n": 3}).resources == expected


@pytest.mark.parametrize("shell", [False, True])
def test_an_mpi_program_is_started_as_the_deployment_says(bench: Bench, shell: bool) -> None:
    shell_too = ", ShellCommandRequirement: {}" if shell else ""
    text = f"{EXTENDED}requirements: {{cwltool:MPIRequirement: {{processes: 3}}{shell_too}}}\narguments: [a b]\n"
    job = pending(bench, text, {"n": 3})
    tool = ("/bin/sh", "-c", "tool 'a b'") if shell else ("tool", "a b")
    assert job.build(DIR, {}, SiteFacts()).command == ("mpirun", "-n", "3", *tool)
    srun = {"runner": "srun", "nproc_flag": "--ntasks", "extra_flags": ["--mpi=pmix"], "env_set": {"A": "1"}}
    script = job.build(DIR, {}, SiteFacts(), Grant(mpi=srun))
    assert script.command == ("srun", "--ntasks", "3", "--mpi=pmix", *tool) and not script.shell
    assert script.environment["A"] == "1"


def test_granted_cores_are_what_the_tool_is_told(bench: Bench) -> None:
    text = TOOL + "inputs: {}\noutputs: {}\narguments: [$(runtime.cores), $(runtime.ram), $(runtime.outdir)]\n"
    script = pending(bench, text, {}).build(DIR, {}, SiteFacts(), Grant(8, 4096))
    assert script.command == ("tool", "8", "4096", f"{DIR}/out")


def test_contents_that_a_command_line_needs_are_asked_for_all_at_once(bench: Bench) -> None:
    text = (
        TOOL
        + JS
        + (
            "inputs: {a: {type: File, loadContents: true}, b: {type: File, loadContents: true}}\noutputs: {}\n"
            "arguments: [$(inputs.a.contents), $(inputs.b.contents.length)]\n"
        )
    )
    job = pending(bench, text, {"a": file("a"), "b": file("b")})
    paths = {file("a")["location"]: "/s/a", file("b")["location"]: "/s/b"}
    facts = SiteFacts()
    with pytest.raises(FactsNeeded) as needed:
        job.build(DIR, paths, facts)
    assert needed.value.questions == (Question("contents", "/s/a"), Question("contents", "/s/b"))
    facts.contents.update({"/s/a": b"hi", "/s/b": b"four"})
    assert job.build(DIR, paths, facts).command == ("tool", "hi", "4")


def test_a_listing_that_a_command_line_needs_is_asked_for(bench: Bench) -> None:
    text = (
        TOOL
        + JS
        + (
            "inputs: {d: {type: Directory, loadListing: shallow_listing}}\noutputs: {}\n"
            "arguments: [$(inputs.d.listing.length)]\n"
        )
    )
    folder = {"class": "Directory", "location": "hybrid://hpc/node1/d", "basename": "d"}
    job = pending(bench, text, {"d": folder})
    facts = SiteFacts()
    with pytest.raises(FactsNeeded) as needed:
        job.build(DIR, {folder["location"]: "/s/d"}, facts)
    assert needed.value.questions == (Question("list", "/s/d"),)
    facts.listings["/s/d"] = ("x y", "z")
    facts.files.update({"/s/d/x y": FileFact("f", 1), "/s/d/z": FileFact("d")})
    assert job.build(DIR, {folder["location"]: "/s/d"}, facts).command == ("tool", "2")


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, "success"), (3, "success"), (4, "temporaryFail"), (5, "permanentFail"), (1, "permanentFail")],
)
def test_exit_codes_have_the_meaning_that_the_tool_gives_them(bench: Bench, code: int, status: str) -> None:
    text = TOOL + "inputs: {}\noutputs: {}\nsuccessCodes: [3]\ntemporaryFailCodes: [4]\npermanentFailCodes: [5]\n"
    assert pending(bench, text, {}).status(code) == status


def test_a_tool_without_a_command_is_an_error(bench: Bench) -> None:
    with pytest.raises(CwlError, match="command line is empty"):
        pending(bench, "class: CommandLineTool\ninputs: {}\noutputs: {}\n", {}).build(DIR, {}, SiteFacts())
