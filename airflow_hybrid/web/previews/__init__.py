# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs that are looked at in the page: bounded, and as data, so nothing of them can run."""
