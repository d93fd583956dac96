# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a job's folders and files are at its location, and cwltool's access to them."""
