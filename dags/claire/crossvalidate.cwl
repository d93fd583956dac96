cwlVersion: v1.2
class: CommandLineTool
label: Cross-validate a variant
baseCommand: python3

requirements:
  SchemaDefRequirement:
    types:
      - $import: variant-type.yml
  InitialWorkDirRequirement:
    listing:
      - entryname: variant.json
        entry: $(inputs.variant)

inputs:
  script:
    type: File
    default:
      class: File
      location: crossvalidate.py
    inputBinding:
      position: 1
  variant: variant-type.yml#Variant
  metrics:
    type: File[]
    doc: One per fold, in the order of the folds.
    inputBinding:
      position: 3

arguments:
  - position: 2
    valueFrom: variant.json

stdout: $(inputs.variant.name).json

outputs:
  crossvalidation:
    type: stdout
