cwlVersion: v1.2
class: Workflow
doc: Jobs that leave a trace each time they run, so that a test can count how often each ran.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  words: string[]
  record:
    type: string
    doc: Path, at the site, of the file that each job appends its word to.
  seconds: int

steps:
  job:
    run: record.cwl
    scatter: word
    in:
      word: words
      record: record
      seconds: seconds
    out: [said]

outputs:
  said:
    type: File[]
    outputSource: job/said
