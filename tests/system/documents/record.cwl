cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo "$1" >> "$2"; sleep "$3"; echo "$1"', sh]

requirements:
  ResourceRequirement:
    coresMin: 1
    ramMin: 50

inputs:
  word:
    type: string
    inputBinding:
      position: 1
  record:
    type: string
    inputBinding:
      position: 2
  seconds:
    type: int
    inputBinding:
      position: 3

stdout: said.txt

outputs:
  said:
    type: stdout
