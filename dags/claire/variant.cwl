cwlVersion: v1.2
class: Workflow
label: Train and test one variant on all folds

requirements:
  ScatterFeatureRequirement: {}
  SchemaDefRequirement:
    types:
      - $import: variant-type.yml

inputs:
  variant: variant-type.yml#Variant
  images:
    type: File
    secondaryFiles:
      - ^.json
  folds_directory: Directory
  fold_numbers: int[]
  epochs: int
  seed: int

steps:
  train:
    label: Train on all folds but one
    run: train.cwl
    scatter: fold
    in:
      variant: variant
      images: images
      folds_directory: folds_directory
      fold: fold_numbers
      epochs: epochs
      seed: seed
    out: [model]
  metrics:
    label: Test on the fold left out
    run: metrics.cwl
    scatter: [model, fold]
    scatterMethod: dotproduct
    in:
      model: train/model
      images: images
      folds_directory: folds_directory
      fold: fold_numbers
    out: [metrics]
  crossvalidate:
    label: Mean and spread over the folds
    run: crossvalidate.cwl
    in:
      variant: variant
      metrics: metrics/metrics
    out: [crossvalidation]

outputs:
  crossvalidation:
    type: File
    outputSource: crossvalidate/crossvalidation
