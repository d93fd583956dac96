cwlVersion: v1.2
class: Workflow
label: Words of a book
doc: |
  Counts the words of each chapter of a book at one site and sums them up at another.

requirements:
  ScatterFeatureRequirement: {}
  EnvVarRequirement:
    envDef:
      LC_ALL: C # the same order of words everywhere

inputs:
  book:
    type: File
    label: Book
    doc: A plain text; a line that starts with "# " begins a chapter.
  top:
    type: int
    default: 10
    label: Number of words
    doc: How many of the most frequent words the summary lists.
  min_letters:
    type: int
    default: 5
    label: Shortest word
    doc: Words with fewer letters are left out of the list.

steps:
  split:
    label: Split the book into chapters
    run: split.cwl
    in:
      book: book
    out: [chapters]
  count:
    label: Count the words of a chapter
    run: count.cwl
    scatter: chapter
    in:
      chapter: split/chapters
    out: [counts]
  summarise:
    label: Sum up all chapters
    run: summarise.cwl
    in:
      counts: count/counts
      top: top
      min_letters: min_letters
    out: [summary]

outputs:
  summary:
    type: File
    label: Summary
    doc: A table of the chapters and a chart of the most frequent words (Markdown).
    outputSource: summarise/summary
  counts:
    type: File[]
    label: Counts
    doc: One table per chapter, word and number, most frequent first (TSV).
    outputSource: count/counts
