cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
inputs:
  folder: Directory
  indexed: {type: File, secondaryFiles: [.idx]}
arguments:
  - {shellQuote: false, valueFrom: cat}
  - $(inputs.folder.path)/deep/a b.txt
  - $(inputs.indexed.path)
  - $(inputs.indexed.path).idx
outputs: {out: stdout}
stdout: unfolded.txt
