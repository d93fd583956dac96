# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Images, and running containers, at a location."""
