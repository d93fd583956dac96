cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo

inputs:
  word:
    type: string
    inputBinding: {}

stdout: said.txt

outputs:
  said:
    type: stdout
