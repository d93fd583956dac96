cwlVersion: v1.2
class: Workflow
doc: Jobs that say that they ran, and then succeed or fail as their mood is.
requirements: {ScatterFeatureRequirement: {}}
inputs:
  moods: {type: "string[]", doc: "good, bad (fails for good) or flaky (fails the first time)"}
  record: {type: string, doc: a file at the site that each run of a job appends to}
  seconds: {type: int, default: 0}
steps:
  job:
    run:
      class: CommandLineTool
      requirements:
        InitialWorkDirRequirement:
          listing:
            - entryname: job.sh
              entry: |
                echo "$1" >> "$2"
                sleep "$3"
                case $1 in
                  bad) echo "this mood is $1" >&2; exit 3 ;;
                  flaky) mkdir "$2.flaky" 2>/dev/null && { echo "busy" >&2; exit 75; } ;;
                esac
                echo "$1"
      baseCommand: [sh, job.sh]
      temporaryFailCodes: [75]
      permanentFailCodes: [3]
      inputs:
        mood: {type: string, inputBinding: {position: 1}}
        record: {type: string, inputBinding: {position: 2}}
        seconds: {type: int, inputBinding: {position: 3}}
      outputs: {said: stdout}
      stdout: said.txt
    scatter: mood
    in: {mood: moods, record: record, seconds: seconds}
    out: [said]
outputs:
  said: {type: "File[]", outputSource: job/said}
