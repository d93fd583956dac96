cwlVersion: v1.2
class: Workflow
doc: One echo per word.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  words: string[]

steps:
  echo:
    run: say.cwl
    scatter: word
    in:
      word: words
    out: [said]

outputs:
  said:
    type: File[]
    outputSource: echo/said
