cwlVersion: v1.2
class: Workflow
label: Grid of network variants with cross-validation
doc: |
  Shaped like the CLAIRE-COVID pipeline of the StreamFlow paper: the images are prepared once, a grid of variants
  (learning rate x step size x layers x weight decay, up to 108) is trained and tested on each of some folds, every
  variant is cross-validated, and a report compares them. Small networks on scikit-learn's handwritten digits stand
  in for the large ones on lung scans: each training takes about a second.

requirements:
  InlineJavascriptRequirement: {}
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  SchemaDefRequirement:
    types:
      - $import: variant-type.yml

inputs:
  learning_rates:
    type: int
    default: 2
    label: Learning rates (1 to 4)
    doc: How many of 0.1, 0.01, 0.3, 0.03 to try.
  step_sizes:
    type: int
    default: 1
    label: Step sizes (1 to 3)
    doc: How many of 10, 5, 20 to try; after so many epochs the learning rate is halved.
  layers:
    type: int
    default: 2
    label: Depths (1 to 3)
    doc: How many of 1, 2, 3 hidden layers to try.
  weight_decays:
    type: int
    default: 1
    label: Weight decays (1 to 3)
    doc: How many of 0.0001, 0.1, 1.0 to try.
  folds:
    type: int
    default: 5
    label: Folds (2 to 10)
    doc: Parts that the images are divided into; each is the test set of one training.
  epochs:
    type: int
    default: 30
    label: Epochs
    doc: Passes over the training set.
  seed:
    type: int
    default: 42
    label: Seed
    doc: Of the folds and of the networks' first weights. Equal seeds give equal results.

steps:
  grid:
    label: List the variants
    run: grid.cwl
    in:
      learning_rates: learning_rates
      step_sizes: step_sizes
      layers: layers
      weight_decays: weight_decays
      folds: folds
    out: [variants, fold_numbers]
  preprocess:
    label: Prepare images and folds
    run: preprocess.cwl
    in:
      folds: folds
      seed: seed
    out: [images, folds_directory]
  variant:
    label: Train and test one variant
    run: variant.cwl
    scatter: variant
    in:
      variant: grid/variants
      images: preprocess/images
      folds_directory: preprocess/folds_directory
      fold_numbers: grid/fold_numbers
      epochs: epochs
      seed: seed
    out: [crossvalidation]
  report:
    label: Compare the variants
    run: report.cwl
    in:
      crossvalidations: variant/crossvalidation
    out: [table, page, figure, best]

outputs:
  page:
    type: File
    label: Report
    doc: All variants, best first, and the figure (Markdown).
    outputSource: report/page
  table:
    type: File
    label: Table
    doc: One row per variant (CSV).
    outputSource: report/table
  figure:
    type: File
    label: Figure
    doc: Accuracy of each variant (PNG).
    outputSource: report/figure
  best:
    type: string
    label: Best variant
    outputSource: report/best
  crossvalidations:
    type: File[]
    label: Cross-validations
    doc: Mean and spread over the folds, and the confusion matrix, of each variant (JSON).
    outputSource: variant/crossvalidation
