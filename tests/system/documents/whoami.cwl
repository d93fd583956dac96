cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'id -un; pwd']
inputs: {}
outputs:
  out: stdout
stdout: whoami.txt
