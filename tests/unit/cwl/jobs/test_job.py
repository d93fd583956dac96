# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One job: what it asks for, its command line over remote paths, and what may be an output."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.cwl.jobs.job import Grant, PendingJob
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, FactsNeeded, FileFact, Question, Resources, SiteFacts, StageEntry
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import text_of

TOOL = "class: CommandLineTool\nbaseCommand: tool\n"
JS = "requirements: {InlineJavascriptRequirement: {}}\n"
DIR = "/site/job"


def file(name: str = "a.txt", place: str = "hybrid://hpc/node1/data", **more: Any) -> CwlObject:
    return {"class": "File", "location": f"{place}/{name}", "basename": name, **more}


def pending(bench: Bench, text: str, inputs: CwlObject) -> PendingJob:
    (job,) = bench.fragment(text).start([inputs], name="t").pump()
    return job


def produced(**names: str | FileFact) -> SiteFacts:
    """Facts of an output directory with these entries (f, d)."""
    facts = SiteFacts(files={f"{DIR}/out": FileFact("d")}, listings={f"{DIR}/out": tuple(names)})
    for name, fact in names.items():
        facts.files[f"{DIR}/out/{name}"] = fact if isinstance(fact, FileFact) else FileFact(fact, 3, "sha1$abc")
    return facts


def uri(path: str) -> str:
    return f"hybrid://hpc/node1{path}"


ONE = TOOL + "inputs: {x: {type: File, inputBinding: {}}}\noutputs: {}\n"


def test_an_input_with_its_own_name_is_used_where_it_is(bench: Bench) -> None:
    script = pending(bench, ONE, {"x": file()}).build(DIR, {file()["location"]: "/store/1/a.txt"}, SiteFacts())
    assert script.command == ("tool", "/store/1/a.txt")
    assert script.stage == ()
    assert (script.outdir, script.tmpdir, script.shell) == (f"{DIR}/out", f"{DIR}/tmp", False)
    assert script.environment == {"HOME": f"{DIR}/out", "TMPDIR": f"{DIR}/tmp"}


def test_an_input_with_another_name_appears_by_a_link(bench: Bench) -> None:
    script = pending(bench, ONE, {"x": file()}).build(DIR, {file()["location"]: "/store/4f2c"}, SiteFacts())
    assert script.command == ("tool", f"{DIR}/in/1/a.txt")
    assert script.stage == (
        StageEntry("mkdir", f"{DIR}/in"),
        StageEntry("mkdir", f"{DIR}/in/1"),
        StageEntry("link", f"{DIR}/in/1/a.txt", "/store/4f2c"),
    )


SECOND = file("a.txt.idx")


@pytest.mark.parametrize(
    ("paths", "links"),
    [(("/store/1/a.txt", "/store/1/a.txt.idx"), 0), (("/store/1/a.txt", "/store/2/a.txt.idx"), 2)],
)
def test_secondary_files_lie_beside_their_primary(bench: Bench, paths: tuple[str, str], links: int) -> None:
    text = ONE.replace("type: File,", "type: File, secondaryFiles: [.idx],")
    job = pending(bench, text, {"x": file(secondaryFiles=[SECOND])})
    locations = [item["location"] for item in job.files()]
    assert locations == [file()["location"], SECOND["location"]]
    script = job.build(DIR, dict(zip(locations, paths, strict=True)), SiteFacts())
    targets = [entry.target for entry in script.stage if entry.kind == "link"]
    assert targets == [f"{DIR}/in/1/a.txt", f"{DIR}/in/1/a.txt.idx"][:links]


def test_a_missing_secondary_file_is_an_error_that_names_it(bench: Bench) -> None:
    job = pending(bench, ONE.replace("type: File,", "type: File, secondaryFiles: [.idx],"), {"x": file()})
    with pytest.raises(CwlError, match=r"secondary file 'a\.txt\.idx'"):
        job.build(DIR, {file()["location"]: "/store/a.txt"}, SiteFacts())


def test_a_literal_is_written(bench: Bench) -> None:
    script = pending(bench, ONE, {"x": {"class": "File", "basename": "l", "contents": "hé"}}).build(
        DIR, {}, SiteFacts()
    )
    assert script.stage[-1] == StageEntry("file", f"{DIR}/in/1/l", None, "hé".encode())


def test_a_directory_literal_is_made_of_its_entries(bench: Bench) -> None:
    listing = [file("b"), {"class": "Directory", "basename": "sub", "listing": []}]
    job = pending(
        bench, ONE.replace("File", "Directory"), {"x": {"class": "Directory", "basename": "d", "listing": listing}}
    )
    assert [item["basename"] for item in job.files()] == ["b"]
    stage = job.build(DIR, {listing[0]["location"]: "/s/9"}, SiteFacts()).stage
    assert [(entry.kind, entry.target[len(DIR) :]) for entry in stage[2:]] == [
        ("mkdir", "/in/1/d"),
        ("link", "/in/1/d/b"),
        ("mkdir", "/in/1/d/sub"),
    ]


def test_the_tools_default_file_is_among_its_files(bench: Bench) -> None:
    bench.write("d.txt", "data")
    job = pending(bench, ONE.replace("type: File,", "type: File, default: {class: File, location: d.txt},"), {})
    (item,) = job.files()
    assert (item["location"], item["size"]) == ((bench.folder / "d.txt").as_uri(), 4)


@pytest.mark.parametrize("name", ["../../../home/me/.profile", "..", "a/b"])
def test_a_name_that_is_a_path_is_refused(bench: Bench, name: str) -> None:
    fragment = bench.fragment(ONE)
    run = fragment.start([{"x": {**file(), "basename": name}}], name="t")
    assert run.pump() == []
    assert "is not the name of a File" in run.results()[0].message


WORKDIR = (
    TOOL
    + """\
inputs: {x: File, d: Directory}
outputs: {}
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - entryname: sub/script.sh
        entry: "echo $(inputs.x.basename)"
      - entryname: renamed
        entry: $(inputs.x)
        writable: true
      - $(inputs.d)
arguments: [$(inputs.x.path), $(inputs.d.path)]
"""
)


def test_an_initial_work_dir_becomes_entries_to_stage(bench: Bench) -> None:
    folder = {"class": "Directory", "location": "hybrid://hpc/node1/data/d", "basename": "d"}
    job = pending(bench, WORKDIR, {"x": file(), "d": folder})
    script = job.build(DIR, {file()["location"]: "/s/a.txt", folder["location"]: "/s/d"}, SiteFacts())
    assert script.stage == (
        StageEntry("mkdir", f"{DIR}/out/sub"),
        StageEntry("file", f"{DIR}/out/sub/script.sh", None, b"echo a.txt"),
        StageEntry("copy", f"{DIR}/out/renamed", "/s/a.txt"),
        StageEntry("link", f"{DIR}/out/d", "/s/d"),
    )
    assert script.command == ("tool", f"{DIR}/out/renamed", f"{DIR}/out/d")


def test_two_inputs_with_one_name_cannot_be_staged_together(bench: Bench) -> None:
    text = TOOL + (
        "inputs: {a: File, b: File}\noutputs: {}\n"
        "requirements: {InitialWorkDirRequirement: {listing: [$(inputs.a), $(inputs.b)]}}\n"
    )
    other = file(place="hybrid://hpc/node1/other")
    job = pending(bench, text, {"a": file(), "b": other})
    with pytest.raises(CwlError, match="two inputs are to be staged"):
        job.build(DIR, {file()["location"]: "/s/1", other["location"]: "/s/2"}, SiteFacts())


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


# --- outputs --------------------------------------------------------------------------------------------------------


def collect(bench: Bench, outputs: str, facts: SiteFacts, inputs: CwlObject | None = None, **more: str) -> Any:
    given = inputs or {}
    ports = ", ".join(f"{name}: File" for name in given)
    job = pending(bench, f"{TOOL}{JS}inputs: {{{ports}}}\noutputs:\n  o: {outputs}\n", given)
    job.build(DIR, {item["location"]: f"/store/{name}/{item['basename']}" for name, item in given.items()}, SiteFacts())
    return job.collect(0, DIR, facts, uri)["o"]


def test_an_output_has_a_uri_and_a_checksum_and_no_path(bench: Bench) -> None:
    found = collect(bench, '{type: File, outputBinding: {glob: "*.txt"}}', produced(**{"b c.txt": "f", "x.log": "f"}))
    assert found == {
        "class": "File",
        "location": uri(f"{DIR}/out/b%20c.txt"),
        "basename": "b c.txt",
        "size": 3,
        "checksum": "sha1$abc",
    } or found["location"] == uri(f"{DIR}/out/b c.txt")


def test_globs_match_sorted_visible_names(bench: Bench) -> None:
    facts = produced(b="f", a="f", **{".hidden": "f", "d": "d"})
    facts.listings[f"{DIR}/out/d"] = ("c",)
    facts.files[f"{DIR}/out/d/c"] = FileFact("f")
    found = collect(bench, '{type: "File[]", outputBinding: {glob: ["?", "d/*"]}}'.replace('"?"', '"[ab]"'), facts)
    assert [item["basename"] for item in found] == ["a", "b", "c"]


@pytest.mark.parametrize("glob", ["../*", "d/../../x", "/etc/passwd"])
def test_a_glob_cannot_leave_the_output_directory(bench: Bench, glob: str) -> None:
    with pytest.raises(CwlError, match="leaves the output directory|must not start with '/'"):
        collect(bench, f'{{type: File, outputBinding: {{glob: "{glob}"}}}}', produced(a="f"))


def test_a_symbolic_link_out_of_the_output_directory_is_refused(bench: Bench) -> None:
    facts = produced(a=FileFact("f", 9, None, "/etc/passwd"))
    with pytest.raises(CwlError, match="symbolic link to /etc/passwd"):
        collect(bench, "{type: File, outputBinding: {glob: a}}", facts)


def test_a_link_out_of_it_inside_an_output_directory_is_refused(bench: Bench) -> None:
    facts = produced(d="d")
    facts.listings[f"{DIR}/out/d"] = ("l",)
    facts.files[f"{DIR}/out/d/l"] = FileFact("f", 9, None, "/etc/passwd")
    with pytest.raises(CwlError, match="symbolic link to /etc/passwd"):
        collect(bench, "{type: Directory, outputBinding: {glob: d}}", facts)


def test_a_link_within_the_output_directory_stands_for_its_target(bench: Bench) -> None:
    facts = produced(a="f", l=FileFact("f", 3, "sha1$abc", f"{DIR}/out/a"))
    found = collect(bench, "{type: File, outputBinding: {glob: l}}", facts)
    assert (found["location"], found["basename"]) == (uri(f"{DIR}/out/a"), "l")


def test_an_output_directory_that_became_a_link_is_refused(bench: Bench) -> None:
    facts = produced(a=FileFact("f", 3, None, "/etc/a"))
    facts.files[f"{DIR}/out"] = FileFact("d", realpath="/etc")
    with pytest.raises(CwlError) as error:
        collect(bench, "{type: File, outputBinding: {glob: a}}", facts)
    assert str(error.value) == (
        f"/main: output {DIR}/out/cwl.output.json is a symbolic link to /etc, outside the job's output directory"
    )


def test_a_link_to_an_input_is_that_input(bench: Bench) -> None:
    facts = produced(l=FileFact("f", 3, "sha1$abc", "/store/x/a.txt"))
    found = collect(bench, "{type: File, outputBinding: {glob: l}}", facts, {"x": file()})
    assert (found["location"], found["basename"]) == (file()["location"], "l")


@pytest.mark.parametrize("location", ["hybrid://hpc/node1/data/a.txt", "file:///data/a.txt"])
def test_an_input_can_be_handed_on(bench: Bench, location: str) -> None:
    given = {**file(), "location": location, "size": 7, "checksum": "sha1$in"}
    found = collect(bench, "{type: File, outputBinding: {outputEval: $(inputs.x)}}", produced(), {"x": given})
    assert found == given


@pytest.mark.parametrize("size", [{}, {"size": 3}])
def test_an_input_in_the_work_dir_can_be_an_output(bench: Bench, size: dict[str, Any]) -> None:
    text = TOOL + (
        "inputs: {x: File}\noutputs: {o: {type: File, outputBinding: {glob: a.txt}}}\n"
        "requirements: {InitialWorkDirRequirement: {listing: [$(inputs.x)]}}\n"
    )
    job = pending(bench, text, {"x": file(**size)})
    job.build(DIR, {file()["location"]: "/store/9"}, SiteFacts())
    found = job.collect(0, DIR, produced(**{"a.txt": FileFact("f", 3, "sha1$abc", "/store/9")}), uri)["o"]
    assert (found["location"], found["size"], found["checksum"]) == (file()["location"], 3, "sha1$abc")


def test_a_file_that_took_the_place_of_an_inputs_link_is_the_jobs_own(bench: Bench) -> None:
    text = TOOL + (
        "inputs: {x: File}\noutputs: {o: {type: File, outputBinding: {glob: a.txt}}}\n"
        "requirements: {InitialWorkDirRequirement: {listing: [$(inputs.x)]}}\n"
    )
    job = pending(bench, text, {"x": file(size=9, checksum="sha1$old")})
    job.build(DIR, {file()["location"]: "/store/9"}, SiteFacts())
    found = job.collect(0, DIR, produced(**{"a.txt": FileFact("f", 3, "sha1$new")}), uri)["o"]
    assert (found["location"], found["size"], found["checksum"]) == (uri(f"{DIR}/out/a.txt"), 3, "sha1$new")


def test_a_literal_can_be_handed_on(bench: Bench) -> None:
    given = {"class": "File", "basename": "l", "contents": "text"}
    job = pending(
        bench,
        ONE.replace("outputs: {}", JS + "outputs: {o: {type: File, outputBinding: {outputEval: $(inputs.x)}}}"),
        {"x": given},
    )
    job.build(DIR, {}, SiteFacts())
    found = job.collect(0, DIR, produced(), uri)["o"]
    assert (found["contents"], found["basename"], "location" in found) == ("text", "l", False)


@pytest.mark.parametrize(
    "value",
    [
        '{"class": "File", "location": "file:///etc/passwd"}',
        '{"class": "File", "path": "/etc/passwd"}',
        '{"class": "File", "path": "../secret"}',
        '{"class": "File", "location": "hybrid://hpc/node1/etc/passwd"}',
    ],
)
def test_cwl_output_json_cannot_name_what_is_not_the_jobs(bench: Bench, value: str) -> None:
    facts = produced(**{"cwl.output.json": "f"})
    facts.files["/etc/passwd"] = FileFact("f")
    with pytest.raises(FactsNeeded) as needed:
        collect(bench, "File", facts)
    assert needed.value.questions == (Question("document", f"{DIR}/out/cwl.output.json", "/site"),)
    facts.contents[f"{DIR}/out/cwl.output.json"] = f'{{"o": {value}}}'.encode()
    with pytest.raises(CwlError):
        collect(bench, "File", facts)


def test_a_missing_output_is_named(bench: Bench) -> None:
    with pytest.raises(CwlError, match=r"\A/main: output 'o': no file matches the glob 'nope'\Z"):
        collect(bench, "{type: File, outputBinding: {glob: nope}}", produced())


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


def test_secondary_outputs_directories_and_written_files_come_back(bench: Bench) -> None:
    text = """\
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
inputs: {}
arguments: [{valueFrom: "mkdir d; echo 1 > d/x; echo 2 > main; echo 3 > main.idx", shellQuote: false}]
outputs:
  main: {type: File, secondaryFiles: [.idx], outputBinding: {glob: main}}
  d: {type: Directory, outputBinding: {glob: d}}
"""
    outputs = bench.run(text)
    assert text_of(outputs["main"]["secondaryFiles"][0]) == "3\n"
    assert outputs["main"]["secondaryFiles"][0]["size"] == 2
    assert outputs["d"]["class"] == "Directory"
    assert "listing" not in outputs["d"]


def test_secondary_outputs_keep_the_order_in_which_they_are_declared(bench: Bench) -> None:
    names = bench.run(
        """\
class: CommandLineTool
baseCommand: [touch, x.txt, x.txt.b, x.txt.a, x.c]
inputs: []
outputs:
  out: {type: File, secondaryFiles: [.b, ^.c, .a], outputBinding: {glob: x.txt}}
"""
    )["out"]["secondaryFiles"]
    assert [item["basename"] for item in names] == ["x.txt.b", "x.c", "x.txt.a"]


def test_a_checksum_stays_known_when_contents_are_asked_for(bench: Bench) -> None:
    binding = '{glob: a.txt, loadContents: true, outputEval: "$(self[0].contents) $(self[0].checksum)"}'
    job = pending(bench, f"{TOOL}{JS}inputs: {{}}\noutputs: {{o: {{type: string, outputBinding: {binding}}}}}\n", {})
    job.build(DIR, {}, SiteFacts())
    facts = produced(**{"a.txt": "f"})
    with pytest.raises(FactsNeeded):
        job.collect(0, DIR, facts, uri)
    path = f"{DIR}/out/a.txt"
    facts.merge(SiteFacts(files={path: FileFact("f", 3)}, contents={path: b"abc"}))
    assert job.collect(0, DIR, facts, uri)["o"] == "abc sha1$abc"
    facts.merge(SiteFacts(files={path: FileFact("f", 4)}))
    assert facts.files[path].checksum is None  # it is another file now
