cwlVersion: v1.2
class: CommandLineTool
doc: The lines of one day.

baseCommand: [awk, -F, ","]
arguments:
  - {position: 2, valueFrom: "$1 == day"}
inputs:
  day:
    type: string
    inputBinding: {prefix: -v, position: 1, valueFrom: day=$(self)}
  readings:
    type: File
    inputBinding: {position: 3}
stdout: readings-$(inputs.day).csv
outputs:
  selected:
    type: stdout
