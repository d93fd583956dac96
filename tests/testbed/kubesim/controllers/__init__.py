# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What makes pods of objects that ask for them."""
