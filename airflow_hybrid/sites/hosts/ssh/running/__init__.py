# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands of a connection, from their start to their end on both sides."""
