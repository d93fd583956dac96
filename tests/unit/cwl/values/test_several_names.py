# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One file under several names, folders that expressions change, and what is bound in several passes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import JobsFailedError, text_of

JS = "requirements: {InlineJavascriptRequirement: {}}\n"
READ = """\
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c]
arguments: ['%s']
inputs: %s
outputs:
  said: {type: string, outputBinding: {glob: said, loadContents: true, outputEval: "$(self[0].contents)"}}
stdout: said
"""


def given(bench: Bench, name: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "path": str(bench.folder / name), **more}


def test_outputs_that_are_bound_in_several_passes_see_the_same_inputs(bench: Bench) -> None:
    bench.write("r.bam", "A\n")
    bench.write("r.bam.bai", "I\n")
    out = bench.run(
        "class: CommandLineTool\n" + JS + "baseCommand: cat\n"
        "inputs: {f: {type: File, secondaryFiles: [.bai], inputBinding: {}}}\n"
        "outputs:\n"
        '  a: {type: string, outputBinding: {outputEval: \'$(inputs.f.path ? "path" : "NO PATH")\'}}\n'
        "  b: {type: File, secondaryFiles: [.bai], outputBinding: {outputEval: $(inputs.f)}}\n"
        '  c: {type: string, outputBinding: {glob: o, loadContents: true, outputEval: "$(self[0].contents)"}}\n'
        "stdout: o\n",
        {"f": given(bench, "r.bam", secondaryFiles=[given(bench, "r.bam.bai")])},
    )
    assert (out["a"], out["b"]["basename"], out["c"]) == ("path", "r.bam", "A\n")


def test_a_literal_folder_has_one_file_under_each_of_its_names(bench: Bench) -> None:
    bench.write("s.txt", "one\n")
    listing = [given(bench, "s.txt", basename="copy1"), given(bench, "s.txt", basename="copy2")]
    out = bench.run(
        READ % ("cd $(inputs.d.path); ls; cat *", "{d: Directory}"),
        {"d": {"class": "Directory", "basename": "both", "listing": listing}},
    )
    assert out == {"said": "copy1\ncopy2\none\none\n"}


def test_two_inputs_that_are_one_file_have_their_own_names(bench: Bench) -> None:
    bench.write("s.txt", "one\n")
    out = bench.run(
        READ
        % (
            "for f in $(inputs.a.path) $(inputs.b.path); do basename $f; cat $f; done; echo $(inputs.b.nameroot)",
            "{a: File, b: File}",
        ),
        {"a": given(bench, "s.txt", basename="x.fa"), "b": given(bench, "s.txt", basename="y.fb")},
    )
    assert out == {"said": "x.fa\none\ny.fb\none\ny\n"}


def test_a_file_that_is_handed_on_has_its_location_whatever_its_name(bench: Bench) -> None:
    bench.write("s.txt", "one\n")
    out = bench.run(
        "class: CommandLineTool\n" + JS + "baseCommand: 'true'\ninputs: {a: File, b: File}\n"
        "outputs:\n  o: {type: 'File[]', outputBinding: {outputEval: '$([inputs.a, inputs.b])'}}\n",
        {"a": given(bench, "s.txt", basename="x.fa"), "b": given(bench, "s.txt", basename="y.fa")},
    )
    place = f"file://{bench.folder}/s.txt"
    assert [(item["location"], item["basename"]) for item in out["o"]] == [(place, "x.fa"), (place, "y.fa")]


def test_one_file_with_two_indexes_has_each_beside_it(bench: Bench) -> None:
    for name, text in (("q1/r.bam", "A\n"), ("q1/r.bam.bai", "I1\n"), ("q2/r.bam.bai", "I2\n")):
        bench.write(name, text)
    out = bench.run(
        READ
        % (
            "for f in $(inputs.a.path) $(inputs.b.path); do cat $f $f.bai; done",
            "{a: {type: File, secondaryFiles: [.bai]}, b: {type: File, secondaryFiles: [.bai]}}",
        ),
        {
            "a": given(bench, "q1/r.bam", secondaryFiles=[given(bench, "q1/r.bam.bai")]),
            "b": given(bench, "q1/r.bam", secondaryFiles=[given(bench, "q2/r.bam.bai")]),
        },
    )
    assert out == {"said": "A\nI1\nA\nI2\n"}


def test_a_folder_and_a_file_of_it_under_another_name(bench: Bench) -> None:
    bench.write("d/s.txt", "one\n")
    out = bench.run(
        READ % ("ls $(inputs.d.path); basename $(inputs.f.path); cat $(inputs.f.path)", "{d: Directory, f: File}"),
        {
            "d": {"class": "Directory", "path": str(bench.folder / "d")},
            "f": given(bench, "d/s.txt", basename="other"),
        },
    )
    assert out == {"said": "s.txt\nother\none\n"}


LISTED = """\
class: Workflow
requirements:
  InlineJavascriptRequirement: {}
  LoadListingRequirement: {loadListing: shallow_listing}
  StepInputExpressionRequirement: {}
inputs: {d: Directory}
outputs: {o: {type: "string?", outputSource: e/o}}
steps:
  e:
    run:
      class: ExpressionTool
      requirements: {LoadListingRequirement: {loadListing: no_listing}}
      inputs: {m: string, d: Directory}
      expression: "$({o: inputs.m})"
      outputs: {o: string}
    when: $(inputs.d.listing.length > %d)
    in:
      d: d
      m: {valueFrom: '$(inputs.d.listing.map(function(x){return x.basename}).sort().join())'}
    out: [o]
"""


@pytest.mark.parametrize(("more_than", "said"), [(1, "a,b"), (2, None)])
def test_a_steps_own_expressions_see_the_listings_that_its_workflow_loads(
    bench: Bench, more_than: int, said: str | None
) -> None:
    bench.write("d/a", "")
    bench.write("d/b", "")
    assert bench.run(LISTED % more_than, {"d": {"class": "Directory", "path": str(bench.folder / "d")}}) == {"o": said}


CHANGING = """\
class: Workflow
requirements: {InlineJavascriptRequirement: {}, LoadListingRequirement: {loadListing: shallow_listing}}
inputs: {d: Directory}
outputs: {said: {type: string, outputSource: show/said}}
steps:
  change:
    in: {d: d}
    out: [d]
    run:
      class: ExpressionTool
      inputs: {d: Directory}
      expression: "${ %s return {d: inputs.d}; }"
      outputs: {d: Directory}
  show:
    in: {d: change/d}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: ls
      inputs: {d: {type: Directory, inputBinding: {}}}
      outputs:
        said: {type: string, outputBinding: {glob: said, loadContents: true, outputEval: "$(self[0].contents)"}}
      stdout: said
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "a\nb\n"),
        ("inputs.d.listing.sort(function(x, y){return x.basename < y.basename ? -1 : 1}); "
         "inputs.d.listing[0].basename = 'new';", "b\nnew\n"),
        ("inputs.d.listing = inputs.d.listing.filter(function(x){return x.basename == 'b'});", "b\n"),
    ],
)  # fmt: skip
def test_a_folder_that_an_expression_changes_is_what_it_says(bench: Bench, change: str, said: str) -> None:
    bench.write("d/a", "")
    bench.write("d/b", "")
    assert bench.run(CHANGING % change, {"d": {"class": "Directory", "path": str(bench.folder / "d")}}) == {
        "said": said
    }


@pytest.mark.parametrize(
    ("outputs", "value", "problem"),
    [
        ("{y: string}", "{y: 5}", "output 'y' must be string, but the expression returns 5"),
        ("{y: 'int[]'}", "{y: [1, 'a']}", "output 'y' must be array of int, but the expression returns [1, \"a\"]"),
        ("{y: int, z: int}", "{x: 1}", "the expression does not return the outputs 'y', 'z'; it returns 'x'"),
        ("{y: int}", "{}", "the expression does not return the output 'y'; it returns nothing"),
    ],
)
def test_an_expression_gives_what_its_tool_says(bench: Bench, outputs: str, value: str, problem: str) -> None:
    with pytest.raises(JobsFailedError) as caught:
        bench.run(f'class: ExpressionTool\n{JS}inputs: {{}}\nexpression: "$({value})"\noutputs: {outputs}\n')
    assert str(caught.value) == f"/main: permanentFail: {problem}"


def test_values_that_cwltool_takes_for_a_type_are_of_it(bench: Bench) -> None:
    out = bench.run(
        f"class: ExpressionTool\n{JS}inputs: {{}}\n"
        "expression: \"$({a: null, b: 5, c: 3000000000, d: null, e: {class: 'File', contents: '', basename: 'f'}})\"\n"
        "outputs: {a: 'string?', b: double, c: long, d: Any, e: File}\n"
    )
    assert (out["a"], out["b"], out["c"], out["d"], out["e"]["basename"]) == (None, 5, 3000000000, None, "f")


def test_a_brace_in_a_comment_is_explained_once(bench: Bench) -> None:
    with pytest.raises(JobsFailedError) as caught:
        bench.run(
            f"class: ExpressionTool\n{JS}inputs: {{}}\nexpression: |\n"
            "  ${\n    // closing } brace\n    return {o: 1};\n  }\noutputs: {o: Any}\n"
        )
    assert str(caught.value) == (
        "/main: permanentFail: SyntaxError: Unexpected end of input: { // closing }"
        " (quotes and brackets must match; CWL counts those in comments, too)"
    )


def test_a_quote_in_a_comment_is_explained_where_it_is(bench: Bench) -> None:
    from airflow_hybrid.errors import CwlError

    with pytest.raises(CwlError) as caught:
        bench.compile(
            f"class: ExpressionTool\n{JS}inputs: {{}}\nexpression: |\n"
            "  ${\n    // it's one\n    return {o: 1};\n  }\noutputs: {o: Any}\n"
        )
    assert str(caught.value) == (
        f"{bench.folder}/main.cwl:5:1: the expression has no end: quotes and brackets must match, and CWL counts those"
        " in JavaScript comments, too: ${ // it's one return {o: 1}; }"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("self[0].listing.slice(0, 1)", {"a": "1\n"}),
        (
            "self[0].listing.concat([{class: 'File', basename: 'new', contents: 'x'}])",
            {"a": "1\n", "b": "2\n", "new": "x"},
        ),
        (
            "[{class: 'Directory', basename: 'in', listing: [{class: 'File', basename: 'new', contents: 'x'}]}]",
            {"in": {"new": "x"}},
        ),
    ],
)
def test_a_folder_that_a_tool_s_output_eval_changes_is_what_it_says(
    bench: Bench, change: str, expected: dict[str, Any]
) -> None:
    text = f"""\
class: CommandLineTool
requirements: {{InlineJavascriptRequirement: {{}}}}
baseCommand: [sh, -c, 'mkdir d; echo 1 > d/a; echo 2 > d/b']
inputs: []
outputs:
  d:
    type: Directory
    outputBinding:
      glob: d
      loadListing: shallow_listing
      outputEval: "${{ self[0].listing = {change}; return self[0]; }}"
"""
    folder = bench.run(text)["d"]
    assert (folder["class"], folder["basename"], folder.get("location")) == ("Directory", "d", None)
    assert _texts(folder) == expected


def test_a_tool_s_output_eval_may_make_a_file(bench: Bench) -> None:
    text = """\
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: 'true'
inputs: []
outputs:
  f: {type: File, outputBinding: {outputEval: "$({class: 'File', basename: 'made', contents: 'x'})"}}
"""
    made = bench.run(text)["f"]
    assert (made["class"], made["basename"], made["contents"], made.get("location")) == ("File", "made", "x", None)


def _texts(folder: dict[str, Any]) -> dict[str, Any]:
    """The contents of a folder's files, by their names."""
    found: dict[str, Any] = {}
    for item in folder["listing"]:
        if item["class"] == "Directory":
            found[item["basename"]] = _texts(item)
        else:
            found[item["basename"]] = item["contents"] if "contents" in item else text_of(item)
    return found
