# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Bringing a workflow's outputs to ``outdir``: a folder of this machine, or an object store.

They are assembled in a temporary folder in ``outdir`` and then get their names there, one by one. Everything else in
``outdir`` stays as it is (:mod:`.outdir`). An output that is there already, because it is an input passed on as an
output, stays where it is.
"""
