cwlVersion: v1.2
class: Workflow
doc: Words are made, shouted and joined, each somewhere else; the tool that shouts is in its image only.
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
      stdout: $(inputs.word).txt
  shout:
    scatter: file
    in: {file: say/said}
    out: [shouted]
    run:
      class: CommandLineTool
      hints:
        DockerRequirement: {dockerPull: "localhost/tools:1"}
      requirements:
        ResourceRequirement: {coresMin: 0.1, ramMin: 64}
        EnvVarRequirement:
          envDef: {MARK: "it's \"loud\" $HOME"}
      baseCommand: [mawk, "{ print toupper($0), ENVIRON[\"MARK\"] }"]
      inputs: {file: {type: File}}
      stdin: $(inputs.file.path)
      outputs: {shouted: {type: stdout}}
      stdout: $(inputs.file.nameroot).loud
  join:
    in: {files: shout/shouted}
    out: [joined]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {files: {type: "File[]", inputBinding: {}}}
      outputs: {joined: {type: stdout}}
      stdout: joined
outputs:
  joined: {type: File, outputSource: join/joined}
  shouted: {type: "File[]", outputSource: shout/shouted}
