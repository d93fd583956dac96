# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people are told of a fragment's jobs: its task's log, and the records of its jobs."""
