# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a CWL document to a workflow graph: loading, checking, restricting it to its roots, and caching."""
