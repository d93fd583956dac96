# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Bringing a workflow's outputs to ``outdir``: a folder of this machine, or an object store.

They are put together in a folder of ours in ``outdir`` and then get their names there, one by one. What else is in
``outdir`` stays as it is (:mod:`.outdir`); an output that is there already, because it is an input that was handed on,
stays where it is.
"""
