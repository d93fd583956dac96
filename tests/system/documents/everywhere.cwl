cwlVersion: v1.2
class: Workflow
doc: A word is handed from place to place; each place adds a line, and the last counts them.
inputs:
  word: string
steps:
  here:
    in: {word: word}
    out: [book]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$1"', sh]
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {book: stdout}
      stdout: book.txt
  ssh: {run: add_line.cwl, in: {book: here/book, line: {default: by ssh}}, out: [book]}
  slurm: {run: add_line.cwl, in: {book: ssh/book, line: {default: by slurm}}, out: [book]}
  sge: {run: add_line.cwl, in: {book: slurm/book, line: {default: by grid engine}}, out: [book]}
  pbs: {run: add_line.cwl, in: {book: sge/book, line: {default: by pbs}}, out: [book]}
  kube: {run: add_line.cwl, in: {book: pbs/book, line: {default: by kubernetes}}, out: [book]}
  box: {run: add_line.cwl, in: {book: kube/book, line: {default: in a container}}, out: [book]}
  boxes: {run: add_line.cwl, in: {book: box/book, line: {default: in a container of a job}}, out: [book]}
outputs:
  book: {type: File, outputSource: boxes/book}
  half: {type: File, outputSource: sge/book}
