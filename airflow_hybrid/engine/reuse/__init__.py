# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Finding finished jobs that are the same as a new one, and reusing their outputs."""
