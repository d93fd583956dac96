cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, "%s-%s\n"]
inputs:
  left: {type: string, inputBinding: {position: 1}}
  right: {type: int, inputBinding: {position: 2}}
outputs:
  out: stdout
stdout: pair.txt
