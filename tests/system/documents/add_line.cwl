cwlVersion: v1.2
class: CommandLineTool
inputs: {book: File, line: string}
outputs: {book: stdout}
stdout: book.txt
baseCommand: [sh, -ec, 'cat "$1"; echo "$2"', sh]
arguments: [$(inputs.book.path), $(inputs.line)]
