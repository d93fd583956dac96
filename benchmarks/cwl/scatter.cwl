cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
inputs:
  msgs: string[]
outputs:
  out: {type: 'File[]', outputSource: echo/out}
steps:
  echo:
    run: echo.cwl
    scatter: msg
    in: {msg: msgs}
    out: [out]
