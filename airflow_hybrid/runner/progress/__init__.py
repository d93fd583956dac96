# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Progress of a run on a terminal: what its steps do at the moment, below whatever else is printed."""
