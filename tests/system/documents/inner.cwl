cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  InlineJavascriptRequirement: {}
  StepInputExpressionRequirement: {}
inputs: {word: string, number: int, file: File}
steps:
  first:
    run: echo.cwl
    in: {message: {source: word, valueFrom: "first $(self)"}}
    out: [out]
  each:
    run: pair.cwl
    scatter: right
    in:
      left: word
      number: number
      right: {default: [10, 20, 30], valueFrom: $(self * inputs.number)}
    out: [out]
  only:
    run: echo.cwl
    when: $(inputs.number == 2)
    in: {number: number, message: {source: word, valueFrom: "only $(self)"}}
    out: [out]
  deeper:
    run: deeper.cwl
    in: {files: each/out, file: file}
    out: [out]
outputs:
  one: {type: File, outputSource: first/out}
  many: {type: "File[]", outputSource: each/out}
  maybe: {type: "File?", outputSource: only/out}
  deep: {type: File, outputSource: deeper/out}
