# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Documents become graphs; what is wrong with one is said in one sentence, with its position."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.values.inputs import resolve_step_inputs
from airflow_hybrid.errors import CwlError, UnsupportedError
from airflow_hybrid.model import Source, WorkflowGraph
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.texts import CAT, ECHO, indented

SUB = """\
class: Workflow
label: a label
doc: [two, lines]
requirements: {SubworkflowFeatureRequirement: {}, MultipleInputFeatureRequirement: {}, ScatterFeatureRequirement: {}}
inputs:
  zeta: {type: string, doc: said first, default: z}
  alpha: {type: "string[]"}
  level: {type: {type: enum, symbols: [low, high]}}
outputs:
  said: {type: {type: array, items: [File, {type: array, items: File}]}, outputSource: [say/said, more/said]}
steps:
  say:
    in: {text: zeta}
    out: [said]
    run: echo.cwl
  more:
    in: {words: alpha, also: say/said}
    out: [said]
    run:
      class: Workflow
      inputs: {words: "string[]", also: File}
      outputs: {said: {type: "File[]", outputSource: each/said}}
      steps:
        each:
          scatter: text
          in: {text: words}
          out: [said]
          run: echo.cwl
"""


@pytest.fixture
def graph(bench: Bench) -> WorkflowGraph:
    bench.write("echo.cwl", "cwlVersion: v1.2\n" + ECHO)
    return bench.compile(SUB)


def test_a_graph_holds_inputs_steps_and_outputs_in_the_order_of_the_document(graph: WorkflowGraph) -> None:
    assert (graph.name, graph.path, graph.label, graph.doc) == ("main", "/", "a label", "two\nlines")
    assert [port.name for port in graph.inputs] == ["zeta", "alpha", "level"]
    zeta, alpha, level = graph.inputs
    assert (zeta.type, zeta.doc, zeta.default, zeta.has_default) == ("string", "said first", "z", True)
    assert alpha.type == {"type": "array", "items": "string"}
    assert level.type["symbols"] == ["low", "high"]
    assert [(step.path, step.kind) for step in graph.walk()] == [
        ("/say", "tool"),
        ("/more", "workflow"),
        ("/more/each", "tool"),
    ]
    assert graph.outputs[0].sources == (Source("/say", "said"), Source("/more", "said"))
    assert [Path(file).name for file in graph.files] == ["main.cwl", "echo.cwl"]


def test_sources_name_the_scope_that_a_step_is_in(graph: WorkflowGraph) -> None:
    more = graph.steps[1]
    assert [port.sources for port in more.inputs] == [(Source(None, "alpha"),), (Source("/say", "said"),)]
    assert more.workflow is not None
    (each,) = more.workflow.steps
    assert each.inputs[0].sources == (Source(None, "words"),)
    assert each.inputs[0].plain
    assert each.scatter == ("text",)


def test_a_graph_survives_json(graph: WorkflowGraph) -> None:
    assert WorkflowGraph.from_json(json.loads(json.dumps(graph.to_json()))) == graph


def test_steps_know_where_they_stand(graph: WorkflowGraph, bench: Bench) -> None:
    assert graph.steps[0].position == f"{bench.folder}/main.cwl:13:3"


def test_a_tool_at_top_level_is_a_graph_of_one_step_with_its_name(bench: Bench) -> None:
    graph = compile_document(str(bench.write("say-it.cwl", "cwlVersion: v1.2\n" + ECHO)))
    (step,) = graph.steps
    assert (graph.name, step.path, step.kind) == ("say-it", "/say-it", "tool")
    assert graph.outputs[0].sources == (Source("/say-it", "said"),)


def test_a_process_of_a_packed_document_is_chosen_by_its_id(bench: Bench) -> None:
    text = "cwlVersion: v1.2\n$graph:\n" + "".join(
        "- id: " + name + "\n" + indented(ECHO, 2) for name in ("main", "other")
    )
    path = str(bench.write("packed.cwl", text))
    assert compile_document(path).steps[0].path == "/main"
    assert compile_document(path, fragment_id="other").steps[0].path == "/other"
    assert compile_document(path + "#other").steps[0].path == "/other"
    with pytest.raises(CwlError, match="#nope"):
        compile_document(path, fragment_id="nope")


def test_the_same_documents_give_the_same_step_documents_wherever_they_lie(bench: Bench) -> None:
    keys = []
    for folder in ("here", "somewhere/else"):
        bench.write(f"{folder}/echo.cwl", "cwlVersion: v1.0\n" + ECHO)
        path = bench.write(f"{folder}/main.cwl", "cwlVersion: v1.2\n" + SUB)
        keys.append([step.document for step in compile_document(str(path)).walk()])
    assert keys[0] == keys[1]


@pytest.mark.parametrize("version", ["v1.0", "v1.1", "v1.2"])
def test_anonymous_processes_do_not_make_documents_differ(bench: Bench, version: str) -> None:
    text = f"cwlVersion: {version}\nclass: Workflow\ninputs: {{t: string}}\noutputs: {{}}\nsteps:\n"
    text += "  say:\n    in: {text: t}\n    out: [said]\n    run:\n" + indented(ECHO, 6)
    path = str(bench.write("main.cwl", text))
    assert compile_document(path).steps[0].document == compile_document(path).steps[0].document


def test_step_documents_hold_what_encloses_them(bench: Bench) -> None:
    bench.write("echo.cwl", "cwlVersion: v1.0\n" + ECHO)
    text = SUB.replace("requirements: {", "requirements: {EnvVarRequirement: {envDef: {WHO: me}}, ")
    graph = bench.compile(text)
    document = read_document(graph.walk()[2].document)
    assert {item["class"] for item in document["requirements"]} >= {"EnvVarRequirement", "ScatterFeatureRequirement"}
    assert document["steps"][0]["run"]["airflow_hybrid:path"] == "/more/each"
    assert document["steps"][0]["run"]["airflow_hybrid:cwlVersion"] == "v1.0"
    assert "file://" not in json.dumps(document)


def test_default_files_have_absolute_locations(bench: Bench) -> None:
    bench.write("data.txt", "data")
    text = CAT.replace("file: {type: File,", "file: {type: File, default: {class: File, location: data.txt},")
    assert bench.compile(text).inputs[0].default["location"] == (bench.folder / "data.txt").as_uri()


HEAD = "cwlVersion: v1.2\n"
FLOW = """\
class: Workflow
inputs: {s: string}
outputs: {o: {type: File, outputSource: one/said}}
steps:
  one:
    run: echo.cwl
    in: {text: s}
    out: [said]
"""


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("class: CommandLineTool\n inputs: [\n", "3:8", "not valid YAML: mapping values are not allowed here"),
        ("class: X\nclass: Y\n", "3:1", "not valid YAML: found duplicate key"),
        ("class: CommandLineTol\ninputs: {}\noutputs: {}\n", "2:1", "unknown class 'CommandLineTol'"),
        (ECHO + "basecommand: x\n", "9:1", "invalid field 'basecommand'"),
        (ECHO.replace("type: string", "type: strnig"), "5:10", "there is no type 'strnig' (did you mean 'string'?)"),
        (ECHO + "stdin: 5\n", "9:1", "the 'stdin' field is not valid"),
        (ECHO + "requirements: {FooRequirement: {}}\n", "9:16", "unknown class 'FooRequirement'"),
        (
            FLOW.replace("{s: string}", "{s: int}"),
            "8:10",
            "Source 's' of type \"int\" is incompatible with sink 'text'",
        ),
        (FLOW.replace("type: File, out", "type: int, out"), "4:15", "Source 'said' of type \"File\" is incompatible"),
        (FLOW.replace("in: {text: s}", "in: {}"), "8:5", "Step is missing required parameter 'text'"),
        (FLOW.replace("text: s", "text: zzz"), "8:10", "'source' names 'zzz', which is not there"),
        (FLOW.replace("echo.cwl", "nope.cwl"), "7:5", "nope.cwl, which is not there"),
        (FLOW.replace("out: [said]", "out: [said]\n    scatter: text"), "6:3", "ScatterFeatureRequirement"),
        (
            FLOW.replace("text: s", "text: {source: [s, s], pickValue: first_non_null}"),
            "8:10",
            "MultipleInputFeatureRequirement is missing",
        ),
    ],
)
def test_a_wrong_document_is_one_message_with_its_position(bench: Bench, text: str, where: str, message: str) -> None:
    bench.write("echo.cwl", HEAD + ECHO)
    with pytest.raises(CwlError) as caught:
        bench.compile(text)
    line = where.split(":")[0]
    assert str(caught.value.where).startswith(f"{bench.folder}/main.cwl:{line}:"), caught.value
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert "  " not in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"just plain text\n",
            "1:1: the document is text, not a CWL process, which is an object with `cwlVersion` and `class`",
        ),
        (
            b"- a\n- b\n",
            "1:1: the document is a list, not a CWL process, which is an object with `cwlVersion` and `class`",
        ),
        (b"\x7fELF\xd0\x01", "1:1: the document is not text in UTF-8 (byte 0xd0 at 4)"),
        (b"", "1:1: the document is empty"),
        (
            (HEAD + ECHO).replace("type: string", "type: Fil").encode() + b"",
            "5:10: there is no type 'Fil' (did you mean 'File'?)",
        ),
        (
            b"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: x\noutputs: []\n"
            b"inputs: {a: Fil, b: {type: strng}, c: {type: {type: array, items: Fil}}, d: 'Zzz?'}\n",
            "5:10: there is no type 'Fil' (did you mean 'File'?); there is no type 'strng' (did you mean 'string'?); "
            "there is no type 'Zzz'",
        ),
    ],
)
def test_what_is_no_document_at_all_is_said_in_plain_words(bench: Bench, content: bytes, message: str) -> None:
    path = bench.folder / "main.cwl"
    path.write_bytes(content)
    with pytest.raises(CwlError) as caught:
        compile_document(str(path))
    assert str(caught.value) == f"{path}:{message}"


def test_an_error_in_another_file_names_that_file(bench: Bench) -> None:
    bench.write("echo.cwl", HEAD + ECHO.replace("type: string", "type: strnig"))
    with pytest.raises(CwlError, match=r"echo\.cwl:5:\d+: there is no type 'strnig'"):
        bench.compile(FLOW)


def test_a_workflow_that_runs_itself_is_said(bench: Bench) -> None:
    text = "$graph:\n- id: main\n" + indented(FLOW.replace("echo.cwl", "'#main'").replace("text: s", "s: s"), 2)
    with pytest.raises(CwlError, match=r"the workflow runs itself") as caught:
        bench.compile(text)
    assert str(caught.value.where) == f"{bench.folder}/main.cwl:8:5"


def test_what_is_wrong_is_said_though_an_ontology_could_not_be_had(bench: Bench) -> None:
    with pytest.raises(CwlError, match="there is no type 'strnig'"):
        bench.compile(ECHO.replace("type: string", "type: strnig") + "$schemas: ['https://ontology.invalid/x.owl']\n")
    bench.compile(ECHO + "$schemas: ['https://ontology.invalid/x.owl']\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the document is empty"), ("- a\n", "is a list"), ("class: Workflow\n", "no cwlVersion")],
)
def test_what_is_not_cwl_at_all_is_said(bench: Bench, text: str, message: str) -> None:
    with pytest.raises(CwlError, match=message):
        compile_document(str(bench.write("x.cwl", text)))


def test_a_missing_file_is_said() -> None:
    with pytest.raises(CwlError, match=r"no such CWL file: /nowhere/x\.cwl"):
        compile_document("/nowhere/x.cwl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ECHO + "requirements: {SoftwareRequirement: {packages: {x: {}}}}\n", "SoftwareRequirement"),
        (FLOW.replace("echo.cwl", "{class: Operation, inputs: {text: string}, outputs: {said: File}}"), "Operation"),
    ],
)
def test_what_is_valid_and_cannot_be_had_is_unsupported(bench: Bench, text: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        bench.compile(text)


@pytest.mark.parametrize("section", ["hints", "requirements"])
def test_a_tool_in_a_container_is_a_tool(bench: Bench, section: str) -> None:
    assert bench.compile(ECHO + f"{section}: {{DockerRequirement: {{dockerPull: x}}}}\n").steps[0].kind == "tool"


def test_what_is_not_javascript_is_refused_with_its_position(bench: Bench) -> None:
    with pytest.raises(CwlError) as caught:
        bench.compile(ECHO + "requirements: {InlineJavascriptRequirement: {}}\narguments: [$(inputs.text +* 2)]\n")
    assert str(caught.value) == (
        f"{bench.folder}/main.cwl:10:13: this is not JavaScript: Unexpected token '*': $(inputs.text +* 2)\n"
        "  -> quotes and brackets must match; CWL counts those in JavaScript comments, too"
    )


_SCRIPT = (
    "cwlVersion: v1.2\nclass: Workflow\nrequirements:\n  InlineJavascriptRequirement: {LIBRARY}\n"
    """\
  StepInputExpressionRequirement: {}
inputs: {n: int}
outputs: {m: {type: int, outputSource: s/m}}
steps:
  s:
    in:
      n: {source: n, valueFrom: STEP}
    out: [m]
    run:
      class: ExpressionTool
      inputs: {n: int}
      outputs: {m: int}
      expression: TOOL
"""
)


@pytest.mark.parametrize(
    ("library", "step", "tool", "expected"),
    [
        ("", "$(self + 1)", "'${ return {m: inputs.n}; }'", None),
        ("", "$(self ?? 1)", "'${ const {n} = inputs; return {m: n?.k ?? 2}; }'", None),
        ("expressionLib: ['function f(a) {', 'return a; }']", "$(f(self))", "'$({m: inputs.n})'", None),
        ("", "$(self +)", "'$({m: inputs.n})'", ":11:22: this is not JavaScript: Unexpected token ')': $(self +)"),
        (
            "",
            "$(self)",
            "'${ retrun {m: 1}; }'",
            ":17:7: this is not JavaScript: Unexpected token '{': ${ retrun {m: 1}; }",
        ),
        (
            "expressionLib: ['var a = 1;', 'functio f() {}']",
            "$(self)",
            "'$({m: inputs.n})'",
            ":4:63: this is not JavaScript: Unexpected identifier 'f': functio f() {}",
        ),
    ],
)
def test_javascript_is_read_when_the_document_is_compiled(
    bench: Bench, library: str, step: str, tool: str, expected: str | None
) -> None:
    text = _SCRIPT.replace("LIBRARY", library).replace("STEP", f"'{step}'").replace("TOOL", tool)
    path = bench.write("main.cwl", text)
    if expected is None:
        compile_document(str(path))
        return
    with pytest.raises(CwlError) as caught:
        compile_document(str(path))
    assert str(caught.value).splitlines()[0] == f"{path}{expected}"


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("{type: {type: enum, symbols: [fast, slow]}, default: fast}", None),
        ("{type: {type: enum, symbols: [fast, slow]}, default: medium}", 'one of fast, slow, not "medium"'),
        ("{type: ['null', {type: enum, symbols: [a, b]}], default: c}", 'one of a, b or null, not "c"'),
        ("{type: {type: array, items: {type: enum, symbols: [a, b]}}, default: [a, b]}", None),
        ("{type: int, default: many}", 'int, not "many"'),
        ("{type: 'int[]', default: [1, x]}", 'array of int, not [1, "x"]'),
        ("{type: double, default: 1}", None),
        ("{type: File?, default: {class: File, location: /dev/null}}", None),
    ],
)
def test_a_default_is_of_its_input_s_type(bench: Bench, declared: str, problem: str | None) -> None:
    text = f"class: CommandLineTool\nbaseCommand: echo\noutputs: []\ninputs:\n  v: {declared}\n"
    if problem is None:
        bench.compile(text)
        return
    with pytest.raises(CwlError) as caught:
        bench.compile(text)
    assert str(caught.value) == f"{bench.folder}/main.cwl:6:3: the default of input 'v' must be {problem}"


def test_one_source_in_a_list_is_a_list_to_all_non_null(bench: Bench) -> None:
    text = """\
class: Workflow
requirements: {MultipleInputFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {maybe: string?}
outputs: {n: {type: int, outputSource: count/n}}
steps:
  count:
    in: {words: {source: [maybe], pickValue: all_non_null}}
    out: [n]
    run:
      class: ExpressionTool
      inputs: {words: "string[]"}
      outputs: {n: int}
      expression: '$({"n": inputs.words.length})'
"""
    step = bench.compile(text).steps[0]
    for value, expected in ((None, []), ("a", ["a"])):
        assert resolve_step_inputs(step, {Source(None, "maybe"): value}) == {"words": expected}
