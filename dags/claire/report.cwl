cwlVersion: v1.2
class: CommandLineTool
label: Compare the variants
baseCommand: python3

requirements:
  EnvVarRequirement:
    envDef:
      OMP_NUM_THREADS: "1"
      OPENBLAS_NUM_THREADS: "1"
      MPLBACKEND: Agg
      MPLCONFIGDIR: $(runtime.tmpdir) # matplotlib's font cache: not among the outputs

inputs:
  script:
    type: File
    default:
      class: File
      location: report.py
    inputBinding:
      position: 1
  crossvalidations:
    type: File[]
    inputBinding:
      position: 2

outputs:
  page:
    type: File
    outputBinding:
      glob: report.md
  table:
    type: File
    outputBinding:
      glob: report.csv
  figure:
    type: File
    outputBinding:
      glob: report.png
  best:
    type: string
    outputBinding:
      glob: best.txt
      loadContents: true
      outputEval: $(self[0].contents)
