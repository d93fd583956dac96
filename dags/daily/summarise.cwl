cwlVersion: v1.2
class: CommandLineTool
doc: Lowest and highest temperature of a day, and the mean of the days up to it.

baseCommand: awk
inputs:
  program:
    type: File
    default: {class: File, location: summarise.awk}
    inputBinding: {prefix: -f, position: 2}
  day:
    type: string
    inputBinding: {prefix: -v, position: 1, valueFrom: day=$(self)}
  days:
    type: int
    inputBinding: {prefix: -v, position: 1, valueFrom: days=$(self)}
  selected:
    type: File
    inputBinding: {position: 3}
  readings:
    type: File
    inputBinding: {position: 4}
stdout: summary-$(inputs.day).md
outputs:
  summary:
    type: stdout
