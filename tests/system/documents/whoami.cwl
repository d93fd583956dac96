cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'id -un; pwd']
requirements:
  WorkReuse: {enableReuse: true}
inputs: {}
outputs:
  out: stdout
stdout: whoami.txt
