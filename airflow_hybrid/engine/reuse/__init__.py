# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether a job is the same as a finished one, and taking over its outputs."""
