cwlVersion: v1.2
class: CommandLineTool
label: Test a network
baseCommand: python3

requirements:
  EnvVarRequirement:
    envDef:
      OMP_NUM_THREADS: "1"
      OPENBLAS_NUM_THREADS: "1"

inputs:
  script:
    type: File
    default:
      class: File
      location: metrics.py
    inputBinding:
      position: 1
  model:
    type: File
    secondaryFiles:
      - ^.json
    inputBinding:
      prefix: --model
      position: 2
  images:
    type: File
    secondaryFiles:
      - ^.json
    inputBinding:
      prefix: --images
      position: 2
  folds_directory:
    type: Directory
    inputBinding:
      prefix: --folds
      position: 2
  fold:
    type: int
    inputBinding:
      prefix: --fold
      position: 2

stdout: $(inputs.model.nameroot)-metrics.json

outputs:
  metrics:
    type: stdout
