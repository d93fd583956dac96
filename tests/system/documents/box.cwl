cwlVersion: v1.2
class: Workflow
doc: A job in a container, which finds there what another service made ready, and one elsewhere that reads its file.
inputs:
  mood: {type: string, default: good, doc: "good, bad (fails) or slow (takes ten minutes)"}
steps:
  make:
    run:
      class: CommandLineTool
      requirements:
        InitialWorkDirRequirement:
          listing:
            - entryname: job.sh
              entry: |
                cat /shared/ready
                case $1 in
                  bad) echo "this mood is $1" >&2; exit 3 ;;
                  slow) sleep 600 ;;
                esac
      baseCommand: [sh, job.sh]
      inputs: {mood: {type: string, inputBinding: {position: 1}}}
      outputs: {said: stdout}
      stdout: said.txt
    in: {mood: mood}
    out: [said]
  read:
    run:
      class: CommandLineTool
      baseCommand: [cat]
      inputs: {file: {type: File, inputBinding: {position: 1}}}
      outputs: {copy: stdout}
      stdout: copy.txt
    in: {file: make/said}
    out: [copy]
outputs:
  said: {type: File, outputSource: make/said}
  copy: {type: File, outputSource: read/copy}
