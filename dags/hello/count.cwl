cwlVersion: v1.2
class: CommandLineTool
label: Count the words of a chapter
baseCommand: sh

inputs:
  script:
    type: File
    default:
      class: File
      location: count.sh
    inputBinding:
      position: 1
  chapter:
    type: File
    inputBinding:
      position: 2

stdout: $(inputs.chapter.nameroot).tsv

outputs:
  counts:
    type: stdout
