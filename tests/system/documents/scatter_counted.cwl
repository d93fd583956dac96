cwlVersion: v1.2
class: Workflow
doc: Jobs that leave a trace each time they run, in a file that they write to and never read.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  words: string[]
  record: string

steps:
  job:
    scatter: word
    in:
      word: words
      record: record
    out: [said]
    run:
      class: CommandLineTool
      requirements:
        ShellCommandRequirement: {}
      inputs:
        word: string
        record: string
      arguments:
      - {valueFrom: "echo $(inputs.word) >> $(inputs.record); echo", shellQuote: false}
      - $(inputs.word)
      stdout: said.txt
      outputs:
        said: stdout

outputs:
  said:
    type: File[]
    outputSource: job/said
