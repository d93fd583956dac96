cwlVersion: v1.2
class: Workflow
doc: A file that goes through three places, each of which adds its host name.
inputs:
  file: File
steps:
  first:
    run: &sign
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; uname -n']
      inputs: {file: {type: File, inputBinding: {}}}
      outputs: {out: stdout}
      stdout: signed.txt
    in: {file: file}
    out: [out]
  second:
    run: *sign
    in: {file: first/out}
    out: [out]
  third:
    run: *sign
    in: {file: second/out}
    out: [out]
outputs:
  out: {type: File, outputSource: third/out}
