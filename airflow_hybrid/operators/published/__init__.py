# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a run's outputs become known beyond the run: assets with events, and links in the UI."""
