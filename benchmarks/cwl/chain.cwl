cwlVersion: v1.2
class: Workflow
inputs:
  msg: string
outputs:
  out: {type: File, outputSource: s10/out}
steps:
  s1: {run: echo.cwl, in: {msg: msg}, out: [out]}
  s2: {run: cat.cwl, in: {file: s1/out}, out: [out]}
  s3: {run: cat.cwl, in: {file: s2/out}, out: [out]}
  s4: {run: cat.cwl, in: {file: s3/out}, out: [out]}
  s5: {run: cat.cwl, in: {file: s4/out}, out: [out]}
  s6: {run: cat.cwl, in: {file: s5/out}, out: [out]}
  s7: {run: cat.cwl, in: {file: s6/out}, out: [out]}
  s8: {run: cat.cwl, in: {file: s7/out}, out: [out]}
  s9: {run: cat.cwl, in: {file: s8/out}, out: [out]}
  s10: {run: cat.cwl, in: {file: s9/out}, out: [out]}
