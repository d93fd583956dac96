cwlVersion: v1.2
class: Workflow
label: Many corners of the standard in one workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  InlineJavascriptRequirement: {}
  StepInputExpressionRequirement: {}
  MultipleInputFeatureRequirement: {}
inputs:
  words: {type: "string[]", default: [a, b, c]}
  numbers: {type: "int[]", default: [1, 2]}
  nothing: {type: "string[]", default: []}
  go: {type: boolean, default: false}
  "odd-name.1": {type: string, default: "it's \"odd\" $(HOME) `x` ; #"}
steps:
  inputs: # a step may be called like one of the DAG's own tasks
    run: echo.cwl
    in: {message: "odd-name.1"}
    out: [out]
  scattered:
    run: echo.cwl
    scatter: message
    in: {message: words}
    out: [out]
  empty:
    run: echo.cwl
    scatter: message
    in: {message: nothing}
    out: [out]
  flat:
    run: pair.cwl
    scatter: [left, right]
    scatterMethod: flat_crossproduct
    in: {left: words, right: numbers}
    out: [out]
  nested:
    run: pair.cwl
    scatter: [left, right]
    scatterMethod: nested_crossproduct
    in: {left: words, right: numbers}
    out: [out]
  dotted:
    run: pair.cwl
    scatter: [left, right]
    scatterMethod: dotproduct
    in:
      left: {source: words, valueFrom: $(self.toUpperCase())}
      right: {source: [numbers, three/number], linkMerge: merge_flattened}
    out: [out]
  three:
    run: three.cwl
    in: {}
    out: [number]
  never:
    run: echo.cwl
    when: $(inputs.go)
    in: {go: go, message: {default: never}}
    out: [out]
  sometimes:
    run: echo.cwl
    scatter: message
    when: $(inputs.message != "b")
    in: {message: words}
    out: [out]
  picked:
    run: cat.cwl
    in: {file: {source: [never/out, inputs/out], pickValue: first_non_null}}
    out: [out]
  both:
    run: cats.cwl
    in: {files: {source: [scattered/out, flat/out], linkMerge: merge_flattened}}
    out: [out]
  some:
    run: cats.cwl
    in: {files: {source: sometimes/out, pickValue: all_non_null}}
    out: [out]
  spread: # a scattered sub-workflow with a scatter, a condition and a sub-workflow in it
    run: inner.cwl
    scatter: [word, number]
    scatterMethod: nested_crossproduct
    in: {word: words, number: numbers, file: inputs/out}
    out: [one, many, maybe, deep]
  plain: # a sub-workflow that is passed through
    run: inner.cwl
    in: {word: "odd-name.1", number: {default: 2}, file: inputs/out}
    out: [one, many, maybe, deep]
  skipped: # a sub-workflow that does not run
    run: inner.cwl
    when: $(inputs.go)
    in: {go: go, word: "odd-name.1", number: {default: 2}, file: inputs/out}
    out: [one]
  folder:
    run: folder.cwl
    in: {name: "odd-name.1"}
    out: [folder, indexed]
  unfolder:
    run: unfolder.cwl
    in: {folder: folder/folder, indexed: folder/indexed}
    out: [out]
  length:
    run: echo.cwl
    in: {message: {source: picked/out, loadContents: true, valueFrom: "$(self.contents.length + ' ' + self.basename)"}}
    out: [out]
outputs:
  o_flat: {type: "File[]", outputSource: flat/out}
  o_nested: {type: Any, outputSource: nested/out}
  o_dotted: {type: "File[]", outputSource: dotted/out}
  o_empty: {type: "File[]", outputSource: empty/out}
  o_never: {type: "File?", outputSource: never/out}
  o_sometimes: {type: Any, outputSource: sometimes/out}
  o_picked: {type: File, outputSource: picked/out}
  o_both: {type: File, outputSource: both/out}
  o_some: {type: File, outputSource: some/out}
  o_spread_one: {type: Any, outputSource: spread/one}
  o_spread_many: {type: Any, outputSource: spread/many}
  o_spread_maybe: {type: Any, outputSource: spread/maybe}
  o_spread_deep: {type: Any, outputSource: spread/deep}
  o_plain_many: {type: Any, outputSource: plain/many}
  o_plain_maybe: {type: Any, outputSource: plain/maybe}
  o_skipped: {type: "File?", outputSource: skipped/one}
  o_folder: {type: Directory, outputSource: folder/folder}
  o_indexed: {type: File, outputSource: folder/indexed}
  o_unfolded: {type: File, outputSource: unfolder/out}
  o_length: {type: File, outputSource: length/out}
