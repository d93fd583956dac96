# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Everything that happens where jobs run; the only package that reaches a site.

From the top: :mod:`.check` tests deployments, :mod:`.connectors` leads from a deployment to its locations,
:mod:`.kubernetes` reaches a cluster, :mod:`.batches`, :mod:`.files`, :mod:`.containers` and :mod:`.reuse` do not know
each other, and :mod:`.hosts` runs commands.
"""
