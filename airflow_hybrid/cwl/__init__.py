# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL's semantics, implemented by cwltool. No I/O at sites: the engine asks the collected questions about files there.

:mod:`.documents` makes a workflow graph of a document, :mod:`.given` reads a run's inputs, :mod:`.values` merges and
scatters values, :mod:`.fragments` yields the jobs of a step, :mod:`.jobs` builds them and binds their outputs,
:mod:`.locations` knows where their files are, :mod:`.javascript` runs expressions.
"""
