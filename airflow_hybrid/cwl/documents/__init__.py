# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From CWL documents to a workflow graph: loaded, checked, judged, and kept on disk."""
