# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Hosts that are reached by SSH."""
