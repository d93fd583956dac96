# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a CWL document to a workflow graph: loaded, checked, restricted to its roots, and kept on disk."""
