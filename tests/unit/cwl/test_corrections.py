# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Documents on which cwltool's release stumbles, or that say what they mean in an odd shape."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.cwl.given.settings import load_inputs
from airflow_hybrid.errors import CwlError, InputError
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import JobsFailedError, text_of

JS = "requirements: {InlineJavascriptRequirement: {}}\n"
TOOL = "class: CommandLineTool\n"
FLOW = "class: Workflow\n"


# --- types ----------------------------------------------------------------------------------------------------------


def test_arrays_of_enums_without_a_name(bench: Bench) -> None:
    text = (
        f"{TOOL}baseCommand: echo\nstdout: o\noutputs: {{o: stdout}}\ninputs:\n"
        "  e: {type: ['null', {type: array, items: {type: enum, symbols: [a, b]}}], inputBinding: {position: 1}}\n"
        "  n: {type: ['null', {type: array, items: {type: array, items: {type: enum, symbols: [c, d]}}}],"
        " inputBinding: {position: 2}}\n"
        "  r: {type: ['null', {type: array, items: {type: record, fields: {k: {type: {type: enum, symbols: [u, v]},"
        " inputBinding: {}}}}}], inputBinding: {position: 3}}\n"
    )
    given = {"e": ["a", "b"], "n": [["c"], ["d", "c"]], "r": [{"k": "u"}, {"k": "v"}]}
    assert text_of(bench.run(text, given)["o"]) == "a b c d c u v\n"
    with pytest.raises(InputError) as caught:
        bench.run(text, {"e": ["a", "z"]})
    assert str(caught.value) == """input 'e' must be array of one of a, b or null, not ["a", "z"]"""


def test_an_array_keeps_its_nulls_where_pick_value_is_used_on_it(bench: Bench) -> None:
    text = (
        f"{FLOW}{JS}inputs: {{l: {{type: {{type: array, items: ['null', string]}}}}}}\nsteps:\n  s:\n"
        "    in: {all: l, some: {source: l, pickValue: all_non_null}, first: {source: l, pickValue: first_non_null}}\n"
        "    out: [o]\n    run: {class: ExpressionTool, inputs: {all: Any, some: Any, first: Any},"
        " outputs: {o: Any}, expression: '$({o: inputs})'}\n"
        "outputs: {o: {type: Any, outputSource: s/o}}\n"
    )
    found = bench.run(text, {"l": [None, "x", "y"]})
    assert found == {"o": {"all": [None, "x", "y"], "some": ["x", "y"], "first": "x"}}


# --- listings and contents of a workflow's own inputs ---------------------------------------------------------------

LOADED = (
    "{class: ExpressionTool, requirements: {InlineJavascriptRequirement: {}}, inputs: {d: Any}, outputs: {o: Any},"
    " expression: '${ var l = inputs.d.listing; return {o: l ? l.map(function(x) { return x.basename; }) : null}; }'}"
)


@pytest.mark.parametrize(("loading", "names"), [(", loadListing: shallow_listing", ["a"]), ("", None)])
def test_the_listing_of_a_workflow_s_input_is_its_steps_too(
    bench: Bench, loading: str, names: list[str] | None
) -> None:
    bench.write("dir/a", "x")
    text = (
        f"{FLOW}inputs: {{d: {{type: Directory{loading}}}}}\n"
        f"steps: {{s: {{in: {{d: d}}, out: [o], run: {LOADED}}}}}\noutputs: {{o: {{type: Any, outputSource: s/o}}}}\n"
    )
    assert bench.run(text, {"d": {"class": "Directory", "path": "dir"}}) == {"o": names}


# --- files under several names --------------------------------------------------------------------------------------


def test_one_file_is_staged_under_as_many_names_as_it_is_given(bench: Bench) -> None:
    bench.write("dir/f.txt", "1\n")
    entries = (
        "{entryname: one, entry: $(inputs.f)}, {entryname: two, entry: $(inputs.f), writable: true}, $(inputs.f),"
        " {entryname: d1, entry: $(inputs.d)}, {entryname: d2, entry: $(inputs.d), writable: true}"
    )
    text = (
        f"{TOOL}requirements: {{InitialWorkDirRequirement: {{listing: [{entries}]}}}}\n"
        "inputs: {f: File, d: Directory}\nstdout: o\noutputs: {o: stdout}\n"
        "baseCommand: [sh, -c, 'echo 2 >> two; echo 3 > d2/new; find -L . -type f ! -name o | sort; cat one two']\n"
    )
    found = bench.run(
        text,
        {"f": {"class": "File", "path": "dir/f.txt"}, "d": {"class": "Directory", "path": "dir"}},
    )
    assert text_of(found["o"]) == "./d1/f.txt\n./d2/f.txt\n./d2/new\n./f.txt\n./one\n./two\n1\n1\n2\n"


def test_white_space_around_an_entry_s_expression_does_not_make_a_text_of_a_folder(bench: Bench) -> None:
    bench.write("f.txt", "x\n")
    text = (
        f"{TOOL}requirements:\n  InlineJavascriptRequirement: {{}}\n  InitialWorkDirRequirement:\n    listing:\n"
        '      - entry: |\n          ${ return {"class": "Directory", "basename": "data", "listing": [inputs.f]} }\n'
        "      - entryname: text\n        entry: |\n          $(inputs.f.basename)\n"
        "inputs: {f: File}\nstdout: o\noutputs: {o: stdout}\nbaseCommand: [sh, -c, 'cat data/f.txt text']\n"
    )
    found = bench.run(text, {"f": {"class": "File", "path": "f.txt"}})
    assert text_of(found["o"]) == "x\nf.txt\n"


def test_white_space_around_the_expression_of_a_named_entry_makes_a_text_of_its_file(bench: Bench) -> None:
    bench.write("f.txt", "x\n")
    text = (
        f"{TOOL}requirements:\n  InitialWorkDirRequirement:\n    listing:\n"
        "      - entryname: described.json\n        entry: |\n          $(inputs.f)\n"
        "inputs: {f: File}\nstdout: o\noutputs: {o: stdout}\nbaseCommand: [cat, described.json]\n"
    )
    found = bench.run(text, {"f": {"class": "File", "path": "f.txt"}})
    described = json.loads(text_of(found["o"]))
    assert (described["class"], described["basename"]) == ("File", "f.txt")


# --- what JSON cannot hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[1.5, NaN]", "NaN, which is not a number"),
        ('{\\"k\\": -Infinity}', "the number -infinity"),
        ('\\"a\\\\u0000b\\"', "the character with the number 0, in 'a\\x00b'"),
    ],
)
def test_an_output_that_json_cannot_hold_is_one_message(bench: Bench, value: str, problem: str) -> None:
    document = json.dumps(["sh", "-c", f'printf \'%s\' "{{\\"a\\": {value}}}" > cwl.output.json'])
    text = f"{TOOL}inputs: []\noutputs: {{a: Any}}\nbaseCommand: {document}\n"
    with pytest.raises(JobsFailedError) as caught:
        bench.run(text)
    assert str(caught.value) == (
        f"/main: permanentFail: /main: output 'a' holds {problem}\n"
        "  -> values are passed between steps as JSON, which cannot represent this: use a string, or a file"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x: .nan", "input 'x' holds NaN, which is not a number"),
        ("x: [1, .inf]", "input 'x' holds the number infinity"),
        ('{"x": "\\ud83d"}', "input 'x' holds a name or text that is not UTF-8: '\\ud83d'"),
        ("x: &a [*a]", "a value contains itself, or is nested too deeply"),
    ],
)
def test_a_job_file_that_json_cannot_hold_is_one_message(tmp_path: Path, text: str, problem: str) -> None:
    job = tmp_path / "job.yml"
    job.write_text(text)
    with pytest.raises(InputError) as caught:
        load_inputs(str(job), cache_dir=tmp_path / "cache")
    assert str(caught.value) == f"{job}: {problem}"


def test_a_json_job_file_is_read_as_json(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text('{"s": "\\ud83d\\ude00", "f": {"class": "File", "path": "in \\ud83d\\ude00.txt"}}')
    folder = tmp_path.as_uri()
    assert load_inputs(str(job), cache_dir=tmp_path / "cache") == {
        "s": "😀",
        "f": {"class": "File", "location": f"{folder}/in%20%F0%9F%98%80.txt"},
    }


def test_a_json_document_is_read_as_json(bench: Bench) -> None:
    text = json.dumps(
        {
            "cwlVersion": "v1.2", "class": "CommandLineTool",
            "baseCommand": ["printf", "%s|%s", "😀", "\\ud83d\\ude00"], "inputs": [],
            "stdout": "o 😀", "outputs": {"o": "stdout"},
        }
    )  # fmt: skip
    document = bench.write("main.json", text)
    graph = compile_document(str(document))
    found = bench.driver.run_graph(graph, {})["o"]
    assert (found["basename"], text_of(found)) == ("o 😀", "😀|\\ud83d\\ude00")


# --- shapes of files ------------------------------------------------------------------------------------------------

FILE = f"{TOOL}inputs: {{f: File}}\noutputs: []\nbaseCommand: x\n"


def test_the_only_secondary_file_needs_no_list(bench: Bench) -> None:
    for name in ("f.txt", "f.txt.idx"):
        bench.write(name, "x")
    secondary = {"class": "File", "path": "f.txt.idx"}
    graph = bench.compile(FILE)
    alone, listed = (
        validate_inputs(graph, {"f": {"class": "File", "path": "f.txt", "secondaryFiles": value}}, str(bench.folder))
        for value in (secondary, [secondary])
    )
    assert alone == listed
    assert alone["f"]["secondaryFiles"][0]["basename"] == "f.txt.idx"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"class": "File", "path": 5}, "input 'f': `path` of a File must be a string, not 5"),
        ({"class": ["File"]}, "input 'f': `class` must be a string, not ['File']"),
        ({"class": 5}, """input 'f' must be File, not {"class": 5}"""),
        (
            {"class": "File", "path": "f.txt", "basename": "a/b"},
            "input 'f': `basename` 'a/b' is not the name of a File",
        ),
        (
            {"class": "File", "path": "f.txt", "secondaryFiles": ["x"]},
            "input 'f': `secondaryFiles` must be a list of Files and Directories, not ['x']",
        ),
        (
            {"class": "File", "location": "http://["},
            "input 'f': 'http://[' is neither a path nor a URL: Invalid IPv6 URL",
        ),
        ({"class": "File", "path": "a\0b"}, "input 'f' holds the character with the number 0, in 'a\\x00b'"),
        ({"class": "File", "path": "ä b"}, "input 'f': FOLDER/ä b: No such file or directory"),
        (
            {"class": "File", "path": "f.txt", "size": "x"},
            "input 'f': the 'size' field is not valid because tried long: the value \"'x'\" is not long",
        ),
    ],
)
def test_a_wrong_file_is_one_message(bench: Bench, value: dict[str, Any], problem: str) -> None:
    bench.write("f.txt", "x")
    with pytest.raises(InputError) as caught:
        validate_inputs(bench.compile(FILE), {"f": value}, str(bench.folder))
    assert str(caught.value) == problem.replace("FOLDER", str(bench.folder))


# --- default files --------------------------------------------------------------------------------------------------


def with_default(location: str) -> str:
    return f"{TOOL}baseCommand: cat\nstdout: o\noutputs: {{o: stdout}}\n" + (
        f"inputs: {{f: {{type: File, default: {{class: File, location: {location!r}}}, inputBinding: {{}}}}}}\n"
    )


def test_a_default_that_may_not_be_named_is_refused_where_it_is_used(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("secret")
    bench.write("mine.txt", "mine\n")
    text = with_default(secret.as_uri())
    assert text_of(bench.run(text, {"f": {"class": "File", "path": "mine.txt"}})["o"]) == "mine\n"
    with pytest.raises(CwlError) as caught:
        bench.run(text)
    assert caught.value.message.startswith(f"a document may not name {secret.as_uri()}: it is outside ")
    assert str(caught.value.where).endswith("main.cwl:6:35")


@pytest.mark.parametrize("location", ["file:///dev/null", "/dev/null"])
def test_the_null_device_is_an_empty_file(bench: Bench, location: str) -> None:
    assert text_of(bench.run(with_default(location))["o"]) == ""


def test_files_of_the_operating_system_may_be_named(bench: Bench) -> None:
    assert text_of(bench.run(with_default("file:///usr/lib/os-release"))["o"]).startswith("PRETTY_NAME")


# --- requirements ---------------------------------------------------------------------------------------------------


def test_value_from_without_its_requirement_runs_with_a_warning(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        f"{FLOW}inputs: {{s: string}}\nsteps:\n  e:\n    in: {{m: {{source: s, valueFrom: 'a $(self)'}}}}\n"
        "    out: [o]\n    run: {class: CommandLineTool, baseCommand: echo, stdout: o, outputs: {o: stdout},"
        " inputs: {m: {type: string, inputBinding: {}}}}\noutputs: {o: {type: File, outputSource: e/o}}\n"
    )
    with caplog.at_level(logging.WARNING, "airflow_hybrid"):
        assert text_of(bench.run(text, {"s": "b"})["o"]) == "a b\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"{bench.folder}/main.cwl:6:10: m has valueFrom, but StepInputExpressionRequirement is missing: "
        "it runs here, but not everywhere; add `StepInputExpressionRequirement: {}` to the workflow's requirements"
    ]
