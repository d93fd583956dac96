cwlVersion: v1.2
class: CommandLineTool
label: Prepare images and folds
doc: Scales the images, and divides them into folds with equal shares of each class.
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
      location: preprocess.py
    inputBinding:
      position: 1
  folds:
    type: int
    inputBinding:
      prefix: --folds
      position: 2
  seed:
    type: int
    inputBinding:
      prefix: --seed
      position: 2

outputs:
  images:
    type: File
    doc: Images and classes (NPZ), with their description beside them (JSON).
    secondaryFiles:
      - ^.json
    outputBinding:
      glob: digits.npz
  folds_directory:
    type: Directory
    doc: Per fold, the row numbers of its training and of its test images (NPZ).
    outputBinding:
      glob: folds
