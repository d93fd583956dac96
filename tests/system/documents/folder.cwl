cwlVersion: v1.2
class: CommandLineTool
requirements:
  ShellCommandRequirement: {}
  EnvVarRequirement: {envDef: {NAME: $(inputs.name)}}
  InitialWorkDirRequirement:
    listing:
      - {entryname: script.sh, entry: "mkdir -p \"made_of/deep\"; printf '%s' \"\\$NAME\" > 'made_of/deep/a b.txt'; echo x > data.txt; echo index > data.txt.idx; ln -s deep 'made_of/link'\n"}
baseCommand: [sh, script.sh]
inputs: {name: string}
outputs:
  folder: {type: Directory, outputBinding: {glob: made_of}}
  indexed: {type: File, secondaryFiles: [.idx], outputBinding: {glob: data.txt}}
