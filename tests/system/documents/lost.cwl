cwlVersion: v1.2
class: Workflow
doc: Two scattered steps, a command that does damage to what they made, and a scattered step that needs it.

requirements:
  ScatterFeatureRequirement: {}
  InlineJavascriptRequirement: {}

inputs:
  words: string[]
  record:
    type: string
    doc: Path, at the site, of the file that each job appends its step and word to.
  damage: string

steps:
  first:
    scatter: word
    in: {word: words, record: record}
    out: [made]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "first $0" >> "$1"; echo "$0" > "$0.txt"']
      inputs:
        word: {type: string, inputBinding: {position: 1}}
        record: {type: string, inputBinding: {position: 2}}
      outputs:
        made: {type: File, outputBinding: {glob: $(inputs.word).txt}}
  second:
    scatter: file
    in: {file: first/made, record: record}
    out: [made]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'n=$(basename "$0"); echo "second ${n%.txt}" >> "$1"; cp "$0" "$n"']
      inputs:
        file: {type: File, inputBinding: {position: 1}}
        record: {type: string, inputBinding: {position: 2}}
      outputs:
        made: {type: File, outputBinding: {glob: $(inputs.file.basename)}}
  harm:
    in: {damage: damage, after: second/made}
    out: [done]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'eval "$0"']
      inputs:
        damage: {type: string, inputBinding: {position: 1}}
        after: File[]
      outputs:
        done: {type: int, outputBinding: {outputEval: '$(1)'}}
  use:
    scatter: file
    in: {file: second/made, all: second/made, record: record, go: harm/done}
    out: [used]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'n=$(basename "$0"); echo "use ${n%.txt}" >> "$1"; shift; cat "$0" "$@" > used_"$n"']
      inputs:
        file: {type: File, inputBinding: {position: 1}}
        record: {type: string, inputBinding: {position: 2}}
        all: {type: 'File[]', inputBinding: {position: 3}}
        go: int
      outputs:
        used: {type: File, outputBinding: {glob: used_*}}

outputs:
  used: {type: 'File[]', outputSource: use/used}
