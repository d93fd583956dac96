# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Breaks one rule after the other in a copy of the package, and sees a test fail (``scripts/mutants/__main__.py``)."""
