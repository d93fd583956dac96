cwlVersion: v1.2
class: Workflow
doc: Jobs that leave a trace each time they run, and end when the file RECORD.go is there.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  words: string[]
  record:
    type: string
    doc: Path, at the site, of the file that each job appends its word to.

steps:
  job:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$1" >>"$2"; until [ -e "$2.go" ]; do sleep 1; done; echo "$1"', sh]
      requirements:
        ResourceRequirement: {coresMin: 1, ramMin: 50}
      inputs:
        word: {type: string, inputBinding: {position: 1}}
        record: {type: string, inputBinding: {position: 2}}
      outputs: {said: stdout}
      stdout: said.txt
    scatter: word
    in: {word: words, record: record}
    out: [said]

outputs:
  said: {type: 'File[]', outputSource: job/said}
