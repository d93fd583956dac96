# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands that show what would be, and change nothing."""
