# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands and streams of bytes at a location: :mod:`.base` says what a host is; one module per way to reach one."""
