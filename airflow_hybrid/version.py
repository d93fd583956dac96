# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The version of this package, in one place: the build, the provider and the caches' keys read it."""

__version__ = "0.1.0"
