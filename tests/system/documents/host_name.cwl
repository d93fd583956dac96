cwlVersion: v1.2
class: Workflow
doc: A host name that goes on as a value to another place, which adds its own.
inputs:
  greeting: string
steps:
  first:
    run: &name
      class: CommandLineTool
      baseCommand: [sh, -c, 'printf "{\"names\": \"%s %s\"}" "$0" "$(uname -n)" >cwl.output.json']
      inputs: {before: {type: string, inputBinding: {}}}
      outputs: {names: string}
    in: {before: greeting}
    out: [names]
  second:
    run: *name
    in: {before: first/names}
    out: [names]
outputs:
  names: {type: string, outputSource: second/names}
