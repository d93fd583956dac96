cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs:
  files: {type: "File[]", inputBinding: {}}
outputs:
  out: stdout
stdout: cats.txt
