# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which failed jobs are run again, and what one try tells the next about that."""
