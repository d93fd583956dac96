# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Images and containers at a location."""
