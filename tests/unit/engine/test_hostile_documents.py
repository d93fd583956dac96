# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Hostile documents: a table of what they try, and that each is refused, with a message, and nothing leaks.

What must not be refused but passed through literally (names and values with every odd character) is in
``tests/system/at_sites/test_hostile_values.py``: there it goes through real transports.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import HybridError
from airflow_hybrid.settings import variable_of
from tests.unit.engine.execution import execute

SECRET = "the content of a file that nobody was given"

HEAD = """\
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  ShellCommandRequirement: {}
"""


def shell(command: str, output: str, more: str = "") -> str:
    """A tool that runs ``command`` and has one output."""
    return (
        f"{HEAD}{more}inputs: []\narguments: [{{shellQuote: false, valueFrom: {json.dumps(command)}}}]\n"
        f"outputs:\n  out: {output}\n"
    )


FILE = "{type: File, outputBinding: {glob: '*'}}"
FOLDER = "{type: Directory, outputBinding: {glob: d}}"


def said(value: Any) -> str:
    """A tool that writes ``value`` as its cwl.output.json (``SECRET`` stands for the secret's path)."""
    text = json.dumps(value).replace("'", "'\"'\"'")
    return shell(f"touch good; mkdir d; touch d/x; printf %s '{text}' > cwl.output.json", "Any?")


def expression(code: str, kind: str = "File") -> str:
    return (
        "cwlVersion: v1.2\nclass: ExpressionTool\nrequirements: {InlineJavascriptRequirement: {}}\ninputs: []\n"
        f"outputs: {{out: {kind}}}\nexpression: {json.dumps('$(' + code + ')')}\n"
    )


def with_work_dir(entry: str) -> str:
    return f"{HEAD}  InitialWorkDirRequirement: {{listing: [{entry}]}}\ninputs: []\nbaseCommand: ls\noutputs: []\n"


WHEN_IT_RUNS = {
    "a link to a file of the host": shell("ln -s SECRET x", FILE),
    "a link to a link to it": shell("ln -s SECRET .y; ln -s .y x", "{type: File, outputBinding: {glob: x}}"),
    "a link to a folder above": shell("ln -s SECRETDIR d", FOLDER),
    "a link in a folder": shell("mkdir d; ln -s SECRET d/x", FOLDER),
    "a link to another job's folder": shell("ln -s ../.. d", FOLDER),
    "a file below a link": shell("ln -s SECRETDIR d", "{type: File, outputBinding: {glob: d/secret}}"),
    "a hard glob upwards": shell("true", "{type: 'File[]', outputBinding: {glob: '../*'}}"),
    "a glob to the root": shell("true", "{type: File, outputBinding: {glob: SECRET}}"),
    "a glob by expression": shell("true", "{type: File, outputBinding: {glob: \"$('../..' + '/*')\"}}"),
    "outputEval of a path": shell(
        "true", "{type: File, outputBinding: {outputEval: \"$({'class': 'File', 'path': 'SECRET'})\"}}"
    ),
    "outputEval of a location": shell(
        "true", "{type: File, outputBinding: {outputEval: \"$({'class': 'File', 'location': 'file://SECRET'})\"}}"
    ),
    "secondaryFiles upwards": shell(
        "touch x", "{type: File, secondaryFiles: ['^^^^../../../../SECRET'], outputBinding: {glob: x}}"
    ).replace("'^^^^../../../../SECRET'", "{pattern: \"$('SECRET')\", required: true}"),
    "cwl.output.json: a path": said({"out": {"class": "File", "path": "SECRET"}}),
    "cwl.output.json: a location": said({"out": {"class": "File", "location": "file://SECRET"}}),
    "cwl.output.json: upwards": said({"out": {"class": "File", "path": "../../../../../../../../../../SECRET"}}),
    "cwl.output.json: another site": said({"out": {"class": "File", "location": "hybrid://local/localhostSECRET"}}),
    "cwl.output.json: a listing": said(
        {"out": {"class": "Directory", "basename": "d", "listing": [{"class": "File", "path": "SECRET"}]}}
    ),
    "cwl.output.json: a secondary file": said(
        {"out": {"class": "File", "path": "good", "secondaryFiles": [{"class": "File", "path": "SECRET"}]}}
    ),
    "cwl.output.json: a basename": said({"out": {"class": "File", "path": "good", "basename": "../../evil"}}),
    "cwl.output.json: a literal's basename": said({"out": {"class": "File", "contents": "x", "basename": "../evil"}}),
    "cwl.output.json: a listing's basename": said(
        {
            "out": {
                "class": "Directory",
                "basename": "d",
                "listing": [{"class": "File", "contents": "", "basename": ".."}],
            }
        }
    ),
    "stdout upwards": shell("echo x", "stdout", "stdout: ../../evil\n"),
    "stdout anywhere": shell("echo x", "stdout", "stdout: /tmp/evil\n"),
    "stdin of the host": shell("cat > x", FILE, "stdin: SECRET\n"),
    "a work directory entry upwards": with_work_dir("{entryname: ../../evil, entry: x}"),
    "a work directory entry anywhere": with_work_dir("{entryname: /tmp/evil, entry: x}"),
    "a work directory file by expression": with_work_dir("\"$({'class': 'File', 'location': 'file://SECRET'})\""),
    "an expression's file": expression("{'out': {'class': 'File', 'location': 'file://SECRET', 'basename': 'x'}}"),
    "an expression's path": expression("{'out': {'class': 'File', 'path': 'SECRET', 'basename': 'x'}}"),
    "an expression's folder": expression(
        "{'out': {'class': 'Directory', 'location': 'file://SECRETDIR', 'basename': 'x'}}", "Directory"
    ),
    "an expression's listing": expression(
        "{'out': {'class': 'Directory', 'basename': 'x', 'listing': [{'class': 'File', 'location': 'file://SECRET'}]}}",
        "Directory",
    ),
    "JavaScript: require": expression("{'out': require('fs').readFileSync('SECRET', 'utf8')}", "string"),
    "JavaScript: process": expression("{'out': process.env.PATH}", "string"),
    "JavaScript: out of its realm": expression(
        "{'out': this.constructor.constructor('return process')().env.HOME}", "string"
    ),
    "JavaScript: an endless loop": expression("(function () {while (true) {}})()", "string"),
    "JavaScript: endless memory": expression(
        "(function () {var a = []; for (;;) a.push(new Uint8Array(1e8).fill(1))})()", "string"
    ),
    "a value from an expression that is a file": """\
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: []
outputs: []
steps:
  s:
    in: {f: {valueFrom: "$({'class': 'File', 'location': 'file://SECRET', 'basename': 'x'})"}}
    out: []
    run: {class: CommandLineTool, baseCommand: cat, inputs: {f: {type: File, inputBinding: {}}}, outputs: []}
""",
}

WHEN_IT_IS_COMPILED = {
    "a default": "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\noutputs: []\n"
    "inputs: {f: {type: File, default: {class: File, location: 'file://SECRET'}}}\n",
    "a default upwards": "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\noutputs: []\n"
    "inputs: {f: {type: File, default: {class: File, location: '../../SECRETNAME/secret'}}}\n",
    "a default through a link": "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\noutputs: []\n"
    "inputs: {f: {type: File, default: {class: File, location: link}}}\n",
    "a default that is hidden": "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\noutputs: []\n"
    "inputs: {f: {type: File, default: {class: File, location: .ssh/id}}}\n",
    "an include": f"{HEAD}inputs: []\noutputs: []\narguments: [{{$include: 'file://SECRET'}}]\n",
    "an include upwards": f"{HEAD}inputs: []\noutputs: []\narguments: [{{$include: ../../SECRETNAME/secret}}]\n",
    "an include that is hidden": f"{HEAD}inputs: []\noutputs: []\narguments: [{{$include: .ssh/id}}]\n",
    "an import": f"{HEAD}inputs: []\noutputs: []\nhints: [{{$import: 'file://SECRET'}}]\n",
    "a step's run from the web": "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\n"
    "steps: {s: {run: 'http://127.0.0.1:9/tool.cwl', in: [], out: []}}\n",
    "a step's run elsewhere": "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\n"
    "steps: {s: {run: 'file://SECRET', in: [], out: []}}\n",
    "an include from the web": f"{HEAD}inputs: []\noutputs: []\narguments: [{{$include: 'http://127.0.0.1:9/x'}}]\n",
    "a work directory file": with_work_dir("{class: File, location: 'file://SECRET'}"),
}


class Trap:
    """A document in a folder, and a secret beside that folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = folder / "elsewhere" / "secret"
        self.secret.parent.mkdir()
        self.secret.write_text(SECRET)
        self.documents = folder / "place" / "of" / "documents"
        (self.documents / ".ssh").mkdir(parents=True)
        (self.documents / ".ssh" / "id").write_text(SECRET)
        (self.documents / "link").symlink_to(self.secret)

    def run(self, text: str) -> Any:
        document = self.documents / "main.cwl"
        text = text.replace("SECRETDIR", str(self.secret.parent)).replace("SECRETNAME", "../elsewhere")
        document.write_text(text.replace("SECRET", str(self.secret)))
        site = {"site": {"type": "local", "config": {}, "workdir": str(self.folder / "site")}}
        return execute(document, {}, site, {"/": "site"}, identity=TaskIdentity("d", "r", "t", origin="origin"))[0]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trap:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__EXPRESSION_TIMEOUT", "8")
    return Trap(tmp_path)


def assert_nothing_leaked(trap: Trap, text: str) -> None:
    assert SECRET not in text
    for place in (trap.folder / "site", trap.folder / "cache"):
        for path in place.rglob("*"):
            assert path.is_symlink() or not path.is_file() or SECRET not in path.read_text(errors="replace"), path
    assert not [path for path in trap.folder.rglob("evil")]
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("text", WHEN_IT_RUNS.values(), ids=WHEN_IT_RUNS.keys())
def test_what_a_document_must_not_reach_is_refused_when_it_runs(trap: Trap, text: str) -> None:
    with pytest.raises(HybridError) as caught:
        outcome = trap.run(text)
        pytest.fail(f"it was let through: {outcome.results}", pytrace=False)
    assert not isinstance(caught.value, AssertionError)
    assert_nothing_leaked(trap, str(caught.value))


@pytest.mark.parametrize("text", WHEN_IT_IS_COMPILED.values(), ids=WHEN_IT_IS_COMPILED.keys())
def test_what_a_document_must_not_name_is_refused_when_it_is_compiled(trap: Trap, text: str) -> None:
    with pytest.raises(HybridError, match="a document may not") as caught:
        trap.run(text)
    assert str(caught.value.where).startswith(f"{trap.documents / 'main.cwl'}:")
    assert "[airflow_hybrid] document_roots" in str(caught.value.hint)
    assert_nothing_leaked(trap, str(caught.value))


def test_a_tool_may_be_in_a_library_of_tools_anywhere(trap: Trap) -> None:
    library = trap.secret.parent / "tools"
    library.mkdir()
    (library / "echo.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\nbaseCommand: [echo, x]\n"
        "outputs: {out: stdout}\nstdout: o\n"
    )
    step = f"{{run: {library / 'echo.cwl'}, in: [], out: [out]}}"
    outputs = "{out: {type: File, outputSource: s/out}}"
    outcome = trap.run(f"cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: {outputs}\nsteps: {{s: {step}}}\n")
    assert outcome.results[0].outputs["out"]["size"] == 2


def test_a_secret_does_not_become_a_document_by_a_link(trap: Trap) -> None:
    (trap.documents / "link.cwl").symlink_to(trap.secret)
    with pytest.raises(HybridError, match="a document may not name") as caught:
        trap.run(f"{HEAD}inputs: []\noutputs: []\narguments: [{{$include: link.cwl}}]\n")
    assert_nothing_leaked(trap, str(caught.value))


def test_a_project_without_git_is_known_by_its_readme(trap: Trap) -> None:
    (trap.documents.parent.parent / "README.md").write_text("# Documents\n")
    (trap.documents.parent.parent / "words").write_text("words")
    outcome = trap.run(
        "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\nbaseCommand: echo\n"
        "arguments: [{$include: ../../words}]\noutputs: {out: stdout}\nstdout: o\n"
    )
    assert outcome.results[0].outputs["out"]["size"] == 6


def test_the_roots_can_be_given(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable_of("document_roots"), f"{trap.documents} {trap.secret.parent}")
    text = HEAD.replace("ShellCommandRequirement: {}", "") + (
        "inputs: []\nbaseCommand: echo\narguments: [{$include: 'file://SECRET'}]\noutputs: {out: stdout}\nstdout: out\n"
    )
    outcome = trap.run(text)
    assert outcome.results[0].outputs["out"]["size"] == len(SECRET) + 1


def test_what_a_job_hands_on_may_be_handed_on(trap: Trap) -> None:
    """An expression may give what it got, also from inside a folder that it got."""
    text = """\
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: []
outputs: {out: {type: File, outputSource: whole/out}}
steps:
  whole:
    in: []
    out: [out]
    run:
      class: Workflow
      inputs: []
      outputs: {out: {type: File, outputSource: pick/out}}
      steps:
        make:
          in: []
          out: [d]
          run:
            class: CommandLineTool
            baseCommand: [sh, -c, mkdir d; echo x > d/file]
            inputs: []
            outputs: {d: {type: Directory, outputBinding: {glob: d}}}
        pick:
          in: {d: make/d}
          out: [out]
          run:
            class: ExpressionTool
            inputs: {d: Directory}
            outputs: {out: File}
            expression: "$({'out': {'class': 'File', 'location': inputs.d.location + '/file', 'basename': 'file'}})"
"""
    document = trap.documents / "main.cwl"
    document.write_text(text)
    site = {"site": {"type": "local", "config": {}, "workdir": str(trap.folder / "site")}}
    bindings = {"/": "site", "/whole": {"target": "site", "fuse": True}}
    outcome, _ = execute(document, {}, site, bindings, identity=TaskIdentity("d", "r", "t", origin="origin"))
    assert outcome.results[0].outputs["out"]["location"].endswith("/out/d/file")
