cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, "%s\n"]
inputs:
  message: {type: string, inputBinding: {}}
outputs:
  out: stdout
stdout: echo.txt
