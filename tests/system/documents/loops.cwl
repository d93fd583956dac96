cwlVersion: v1.3.0-dev1
$graph:
- class: CommandLineTool
  id: add_line
  doc: The file with a line more.
  requirements:
    InlineJavascriptRequirement: {}
    ShellCommandRequirement: {}
  inputs:
    text: File
    word: {type: string, default: x}
  arguments:
  - {valueFrom: '{ cat', shellQuote: false}
  - $(inputs.text.path)
  - {valueFrom: '; echo', shellQuote: false}
  - $(inputs.word)
  - {valueFrom: '; } >', shellQuote: false}
  - $(inputs.text.nameroot).txt
  outputs:
    longer: {type: File, outputBinding: {glob: $(inputs.text.nameroot).txt}}
    lines:
      type: int
      outputBinding:
        glob: $(inputs.text.nameroot).txt
        loadContents: true
        outputEval: '$(self[0].contents.trim().split("\n").length)'

- class: CommandLineTool
  id: grow
  doc: A folder with a file more, and a file with its index beside it.
  requirements:
    ShellCommandRequirement: {}
  inputs:
    folder: Directory
    number: int
  arguments:
  - {valueFrom: 'cp -r', shellQuote: false}
  - $(inputs.folder.path)
  - valueFrom: >-
      tree && chmod -R u+w tree && echo $(inputs.number) > tree/$(inputs.number)
      && ls tree > list && wc -l < list > list.idx
    shellQuote: false
  outputs:
    tree: {type: Directory, outputBinding: {glob: tree}}
    list: {type: File, secondaryFiles: [.idx], outputBinding: {glob: list}}

- class: CommandLineTool
  id: with_index
  doc: Reads a file and the one beside it.
  requirements: {InlineJavascriptRequirement: {}, ShellCommandRequirement: {}}
  inputs:
    list: {type: File, secondaryFiles: [.idx]}
  arguments:
  - {valueFrom: 'cat', shellQuote: false}
  - $(inputs.list.path)
  - $(inputs.list.path).idx
  - {valueFrom: '> again && cp again again.idx', shellQuote: false}
  outputs:
    list: {type: File, secondaryFiles: [.idx], outputBinding: {glob: again}}

- class: ExpressionTool
  id: next
  requirements: {InlineJavascriptRequirement: {}}
  inputs: {n: int}
  outputs: {n: int}
  expression: "$({'n': inputs.n + 1})"

- class: CommandLineTool
  id: maybe
  doc: A number, or nothing when it is even.
  requirements: {InlineJavascriptRequirement: {}}
  inputs: {n: int}
  baseCommand: 'true'
  outputs:
    even: {type: int?, outputBinding: {outputEval: '$(inputs.n % 2 ? null : inputs.n)'}}
    odd: {type: int?, outputBinding: {outputEval: '$(inputs.n % 2 ? inputs.n : null)'}}
    both: {type: 'int[]', outputBinding: {outputEval: '$([inputs.n, inputs.n])'}}
    after: {type: int, outputBinding: {outputEval: '$(inputs.n + 1)'}}

- class: Workflow
  id: line_and_number
  inputs: {text: File, n: int}
  requirements: {StepInputExpressionRequirement: {}, InlineJavascriptRequirement: {}}
  steps:
    line:
      run: '#add_line'
      in: {text: text, n: n, word: {valueFrom: 'sub $(inputs.n)'}}
      out: [longer]
    number:
      run: '#next'
      in: {n: n}
      out: [n]
  outputs:
    text: {type: File, outputSource: line/longer}
    n: {type: int, outputSource: number/n}

- class: Workflow
  id: until_four
  doc: A loop, to be scattered and to be looped.
  requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
  inputs: {text: File, n: int}
  steps:
    inner:
      run: '#add_line'
      in: {text: text, n: n, lines: {default: 0}, word: {valueFrom: inner}}
      out: [longer, lines]
      when: $(inputs.n < 4)
      loop:
        text: longer
        n: {valueFrom: $(inputs.n + 1)}
      outputMethod: last_iteration
    all:
      run: '#next'
      in: {n: n}
      out: [n]
      when: $(inputs.n < 4)
      loop: {n: n}
      outputMethod: all_iterations
  outputs:
    text: {type: File?, outputSource: inner/longer}
    numbers: {type: 'int[]', outputSource: all/n}

- class: Workflow
  id: lines_of_all
  doc: A scatter, to be looped.
  requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
  inputs: {texts: 'File[]', n: int}
  steps:
    each:
      run: '#add_line'
      scatter: text
      in: {text: texts}
      out: [longer]
    number:
      run: '#next'
      in: {n: n}
      out: [n]
  outputs:
    texts: {type: 'File[]', outputSource: each/longer}
    n: {type: int, outputSource: number/n}

- class: Workflow
  id: main
  requirements:
    InlineJavascriptRequirement: {}
    StepInputExpressionRequirement: {}
    MultipleInputFeatureRequirement: {}
    ScatterFeatureRequirement: {}
    SubworkflowFeatureRequirement: {}
  inputs:
    text: File
    folder: Directory
  steps:
    count:
      doc: a file that the next iteration reads where it is
      run: '#add_line'
      in: {text: text, lines: {default: 1}, word: {default: count}}
      out: [longer, lines]
      when: $(inputs.lines < 4)
      loop: {text: longer, lines: lines}
    every:
      run: '#add_line'
      in: {text: text, lines: {default: 1}}
      out: [longer, lines]
      when: $(inputs.lines < 4)
      loop: {text: longer, lines: lines}
      outputMethod: all_iterations
    never:
      run: '#add_line'
      in: {text: text, lines: {default: 9}}
      out: [longer]
      when: $(inputs.lines < 4)
      loop: {text: longer}
    never_all:
      run: '#add_line'
      in: {text: text, lines: {default: 9}}
      out: [longer]
      when: $(inputs.lines < 4)
      loop: {text: longer}
      outputMethod: all_iterations
    trees:
      doc: a directory, and a file with a secondary file, from one iteration to the next
      run: '#grow'
      in: {folder: folder, number: {default: 1}}
      out: [tree, list]
      when: $(inputs.number < 4)
      loop:
        folder: tree
        number: {valueFrom: $(inputs.number + 1)}
      outputMethod: all_iterations
    beside:
      run: '#with_index'
      in: {list: {source: trees/list, valueFrom: '$(self[2])'}, n: {default: 0}}
      out: [list]
      when: $(inputs.n < 2)
      loop:
        list: list
        n: {valueFrom: $(inputs.n + 1)}
    sub:
      doc: a loop of a sub-workflow; a port that is given by valueFrom of what came out
      run: '#line_and_number'
      in: {text: text, n: {default: 0}}
      out: [text, n]
      when: $(inputs.n < 5)
      loop:
        text: text
        n: {outputSource: n, valueFrom: '$(self + 1)'}
    numbers:
      doc: several sources
      run: '#maybe'
      in: {n: {default: 1}, seen: {default: []}}
      out: [even, odd, both, after]
      when: $(inputs.seen.length < 9)
      loop:
        n: {outputSource: [odd, after], pickValue: first_non_null, valueFrom: $(self + 1)}
        seen: {outputSource: [both, after], linkMerge: merge_flattened, valueFrom: $(inputs.seen.concat(self))}
      outputMethod: all_iterations
    picked:
      run: '#maybe'
      in: {n: {default: 1}, last: {default: 0}, other: {default: 0}, nested: {default: []}}
      out: [even, odd, after, both]
      when: $(inputs.last + inputs.other < 20)
      loop:
        n: after
        last: {outputSource: [even, odd], pickValue: the_only_non_null}
        other: {outputSource: even, default: 7}
        nested: {outputSource: [both, after], linkMerge: merge_nested}
      outputMethod: all_iterations
    spread:
      doc: a loop in a scatter
      run: '#until_four'
      scatter: n
      in: {text: text, n: {default: [1, 3, 2, 5]}}
      out: [text, numbers]
    looped_scatter:
      doc: a scatter in a loop
      run: '#lines_of_all'
      in:
        texts: {source: [text, count/longer], linkMerge: merge_flattened}
        n: {default: 0}
      out: [texts, n]
      when: $(inputs.n < 3)
      loop: {texts: texts, n: n}
    nested:
      doc: a loop in a loop
      run: '#until_four'
      in: {text: text, n: {default: 1}}
      out: [text, numbers]
      when: $(inputs.n < 4)
      loop:
        text: text
        n: {valueFrom: $(inputs.n + 1)}
      outputMethod: all_iterations
    after:
      doc: what a loop left is read elsewhere
      run: '#add_line'
      in: {text: sub/text, word: {default: after}}
      out: [longer]
  outputs:
    count: {type: File, outputSource: count/longer}
    lines: {type: int, outputSource: count/lines}
    every: {type: 'File[]', outputSource: every/longer}
    never: {type: File?, outputSource: never/longer}
    never_all: {type: 'File[]', outputSource: never_all/longer}
    trees: {type: 'Directory[]', outputSource: trees/tree}
    beside: {type: File, outputSource: beside/list}
    sub: {type: File, outputSource: sub/text}
    n: {type: int, outputSource: sub/n}
    numbers: {type: Any, outputSource: numbers/both}
    picked: {type: Any, outputSource: picked/both}
    spread_texts: {type: Any, outputSource: spread/text}
    spread_numbers: {type: Any, outputSource: spread/numbers}
    looped_scatter: {type: 'File[]', outputSource: looped_scatter/texts}
    nested_texts: {type: Any, outputSource: nested/text}
    nested_numbers: {type: Any, outputSource: nested/numbers}
    after: {type: File, outputSource: after/longer}
