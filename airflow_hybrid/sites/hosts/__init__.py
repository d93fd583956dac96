# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Running commands and streaming bytes at a location."""
