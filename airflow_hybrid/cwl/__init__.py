# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL's semantics, by cwltool. No I/O at sites: questions about files there are collected and asked by the engine.

:mod:`.documents` makes a workflow graph of a document, :mod:`.given` reads what a run is given, :mod:`.values` merges
and scatters values, :mod:`.jobs` finds the jobs of a step and binds their outputs, :mod:`.javascript` runs expressions.
"""
