# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Waiting for what does not answer: the pauses between attempts, and how long a task waits."""
