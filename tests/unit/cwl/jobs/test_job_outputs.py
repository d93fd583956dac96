# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs of a job: what may be one, and how it is described."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FactsNeeded, FileFact, Question, SiteFacts
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import text_of
from tests.unit.cwl.jobs.pending_jobs import DIR, JS, ONE, TOOL, collect, file, pending, produced, uri


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
