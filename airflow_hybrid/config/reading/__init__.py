# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From the text of a hybrid file to values: parsed, checked, and kept on disk."""
