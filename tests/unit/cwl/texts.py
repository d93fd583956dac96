# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Processes, and the beginning of a workflow, that several tests use."""

FEATURES = """\
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}
"""

ECHO = """\
class: CommandLineTool
baseCommand: echo
inputs:
  text: {type: string, inputBinding: {position: 1}}
outputs:
  said: {type: stdout}
stdout: said.txt
"""

JOIN = """\
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [printf, "%s%s"]
inputs:
  a: {type: string, inputBinding: {position: 1}}
  b: {type: string, inputBinding: {position: 2}}
outputs:
  ab:
    type: string
    outputBinding: {glob: out, loadContents: true, outputEval: "$(self[0].contents)"}
stdout: out
"""

CAT = """\
class: CommandLineTool
baseCommand: cat
inputs:
  file: {type: File, inputBinding: {position: 1}}
outputs:
  text:
    type: string
    outputBinding: {glob: out, loadContents: true, outputEval: "$(self[0].contents)"}
stdout: out
"""


def indented(text: str, columns: int) -> str:
    """A process for ``run:`` at a column."""
    return "".join(" " * columns + line for line in text.splitlines(keepends=True))
