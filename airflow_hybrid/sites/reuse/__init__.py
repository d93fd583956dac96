# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Records of finished jobs at a location, with which other runs find their outputs."""
