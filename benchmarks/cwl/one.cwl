cwlVersion: v1.2
class: Workflow
inputs:
  msg: string
outputs:
  out: {type: File, outputSource: echo/out}
steps:
  echo:
    run: echo.cwl
    in: {msg: msg}
    out: [out]
