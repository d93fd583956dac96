# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run's inputs and requirements: reading and checking them."""
