# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a run is given: inputs and requirements, read and checked."""
