# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why the steps of a run wait or failed: sentences with a remedy."""
