# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files at locations: moved, stored, linked and read. :mod:`.mover` is the way in."""
