# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tasks have published about a run, as sums over its steps, sites and transfers. Pure."""
