cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
inputs:
  words: string[]
steps:
  say:
    scatter: word
    in: {word: words}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: echo
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {said: {type: stdout}}
      stdout: $(inputs.word)
  join:
    in: {files: say/said}
    out: [joined]
    run:
      class: CommandLineTool
      requirements:
        ResourceRequirement: {coresMin: 1.5, ramMin: 100}
        ToolTimeLimit: {timelimit: 60}
      baseCommand: cat
      inputs: {files: {type: "File[]", inputBinding: {}}}
      outputs: {joined: {type: stdout}}
      stdout: joined
  sum:
    scatter: file
    in: {file: say/said}
    out: [digest]
    run:
      class: CommandLineTool
      requirements:
        ResourceRequirement: {coresMin: 1, ramMin: 100}
      baseCommand: cksum
      inputs: {file: {type: File}}
      stdin: $(inputs.file.path)
      outputs: {digest: {type: stdout}}
      stdout: sum
outputs:
  joined: {type: File, outputSource: join/joined}
  digests: {type: "File[]", outputSource: sum/digest}
