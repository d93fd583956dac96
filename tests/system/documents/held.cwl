cwlVersion: v1.2
class: CommandLineTool
doc: Notes that it runs, waits for the file <note>.end, and says how often it has run.
baseCommand: [sh, -c, 'echo x >>"$0"; until [ -e "$0.end" ]; do sleep 0.2; done; wc -l <"$0"']
inputs:
  note: {type: string, inputBinding: {}}
outputs:
  out: stdout
