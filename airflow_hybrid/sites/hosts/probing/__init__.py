# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is at paths of a host: types, sizes, checksums and contents, of many paths at once."""
