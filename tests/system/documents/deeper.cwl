cwlVersion: v1.2
class: Workflow
inputs: {files: "File[]", file: File}
steps:
  join:
    run: cats.cwl
    in: {files: files}
    out: [out]
  with:
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs:
        a: {type: File, inputBinding: {position: 1}}
        b: {type: File, inputBinding: {position: 2}}
      outputs: {out: stdout}
      stdout: with.txt
    in: {a: join/out, b: file}
    out: [out]
outputs:
  out: {type: File, outputSource: with/out}
