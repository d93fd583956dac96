# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The run page's data: what a run's tasks have published, as JSON that is read once per change of the run."""
