cwlVersion: v1.2
class: Workflow
doc: A loop whose iterations leave a trace each time they run, so that a test can count how often each ran.
$namespaces: {cwltool: "http://commonwl.org/cwltool#"}

requirements:
  InlineJavascriptRequirement: {}
  StepInputExpressionRequirement: {}

inputs:
  turns: int
  record:
    type: string
    doc: Path, at the site, of the file that each job appends its number to.
  seconds: int

steps:
  count:
    run:
      class: CommandLineTool
      requirements: {ShellCommandRequirement: {}}
      inputs: {number: int, record: string, seconds: int, before: File?}
      arguments:
      - valueFrom: >-
          echo $(inputs.number) >> $(inputs.record) && sleep $(inputs.seconds) && cat
        shellQuote: false
      - $(inputs.before)
      - {valueFrom: '/dev/null && echo $(inputs.number)', shellQuote: false}
      stdout: trace
      outputs:
        trace: stdout
    in:
      number: {default: 1}
      turns: turns
      record: record
      seconds: seconds
      before: {default: null}
    out: [trace]
    requirements:
      cwltool:Loop:
        loopWhen: $(inputs.number <= inputs.turns)
        loop:
          number: {valueFrom: $(inputs.number + 1)}
          before: trace
        outputMethod: last

outputs:
  trace:
    type: File
    outputSource: count/trace
