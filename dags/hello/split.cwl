cwlVersion: v1.2
class: CommandLineTool
label: Split a book into chapters
baseCommand: awk

inputs:
  script:
    type: File
    default:
      class: File
      location: split.awk
    inputBinding:
      prefix: -f
      position: 1
  book:
    type: File
    inputBinding:
      position: 2

outputs:
  chapters:
    type: File[]
    outputBinding:
      glob: chapter-*.txt
