cwlVersion: v1.2
class: Workflow
doc: A file that goes through two places.
inputs:
  word: string
steps:
  first:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$0"; tr "\0" "\n" </proc/1/environ | grep ^MOOD || :']
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {out: stdout}
      stdout: first.txt
    in: {word: word}
    out: [out]
  second:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'tr a-z A-Z <"$0"']
      inputs: {file: {type: File, inputBinding: {}}}
      outputs: {out: stdout}
      stdout: second.txt
    in: {file: first/out}
    out: [out]
outputs:
  out: {type: File, outputSource: second/out}
