# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A step's task: its settings, and the fragment that it runs."""
