cwlVersion: v1.2
class: CommandLineTool
label: Sum up the counts of all chapters
baseCommand: sh

inputs:
  script:
    type: File
    default:
      class: File
      location: summarise.sh
    inputBinding:
      position: 1
  top:
    type: int
    inputBinding:
      position: 2
  min_letters:
    type: int
    inputBinding:
      position: 3
  counts:
    type: File[]
    inputBinding:
      position: 4

stdout: summary.md

outputs:
  summary:
    type: stdout
