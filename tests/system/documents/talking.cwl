cwlVersion: v1.2
class: Workflow
label: Jobs that write until they may end
doc: |
  Each job writes a line a second until the file <gate>.<number> exists, but not for long; then their lines are counted
  elsewhere. They take hardly a core, so that other jobs of the machine need not wait for them.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  greeting: {type: string, default: hello, label: Greeting, doc: What each job writes.}
  gate: {type: string, label: Gate, doc: 'Path, without its last part, of files that let jobs end.'}
  numbers: {type: 'int[]', label: Numbers, doc: One job for each.}

steps:
  talk:
    scatter: number
    in: {greeting: greeting, gate: gate, number: numbers}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'n=0; until [ -e "$1.$2" ] || [ $n = 600 ]; do n=$((n+1)); echo "$0 $n"; sleep 1; done; echo "$0" >said.txt']
      requirements:
        ResourceRequirement: {coresMin: 0.1, ramMin: 16}
      inputs:
        greeting: {type: string, inputBinding: {position: 1}}
        gate: {type: string, inputBinding: {position: 2}}
        number: {type: int, inputBinding: {position: 3}}
      outputs:
        said: {type: File, outputBinding: {glob: said.txt}}
  count:
    in: {said: talk/said}
    out: [counted]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat -- "$@" | sort | uniq -c', sh]
      inputs:
        said: {type: 'File[]', inputBinding: {}}
      outputs: {counted: stdout}
      stdout: counted.txt

outputs:
  counted: {type: File, outputSource: count/counted}
