# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What finished jobs left at a location, so that other runs can find it."""
