cwlVersion: v1.2
class: CommandLineTool
label: Train a network
baseCommand: python3

requirements:
  SchemaDefRequirement:
    types:
      - $import: variant-type.yml
  EnvVarRequirement:
    envDef:
      OMP_NUM_THREADS: "1"
      OPENBLAS_NUM_THREADS: "1"
  ResourceRequirement:
    coresMin: 1
    coresMax: 1
    ramMin: 512
  ToolTimeLimit:
    timelimit: 600

inputs:
  script:
    type: File
    default:
      class: File
      location: train.py
    inputBinding:
      position: 1
  variant: variant-type.yml#Variant
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
  epochs:
    type: int
    inputBinding:
      prefix: --epochs
      position: 2
  seed:
    type: int
    inputBinding:
      prefix: --seed
      position: 2

arguments:
  - position: 3
    prefix: --learning-rate
    valueFrom: $(inputs.variant.learning_rate)
  - position: 3
    prefix: --step-size
    valueFrom: $(inputs.variant.step_size)
  - position: 3
    prefix: --layers
    valueFrom: $(inputs.variant.layers)
  - position: 3
    prefix: --weight-decay
    valueFrom: $(inputs.variant.weight_decay)
  - position: 3
    prefix: --model
    valueFrom: $(inputs.variant.name)-fold$(inputs.fold).npz

outputs:
  model:
    type: File
    doc: Weights and biases (NPZ), with the history of the training beside them (JSON).
    secondaryFiles:
      - ^.json
    outputBinding:
      glob: $(inputs.variant.name)-fold$(inputs.fold).npz
